-- Signed commands that were obeyed, so that none is obeyed twice.

create table command_nonce (
  nonce blob primary key,
  -- Milliseconds since 1970. A command that is over is refused for that, and forgotten here.
  expires integer not null
) strict, without rowid;

-- The latest `expires` that was forgotten: whatever the clock says, nothing is obeyed that was over
-- then already.
insert into counter (name, value) values ('command_floor', 0);
