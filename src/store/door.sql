-- The door: whether it is held shut, and the refusals that a lock-out counts.

create table door (
  -- One row.
  id integer primary key check (id = 1),
  -- Held shut by command, until it is released by command.
  held integer not null check (held in (0, 1))
) strict;

insert into door (id, held) values (1, 0);

create table refusal (
  -- A subject's name, or nothing for the door as a whole.
  key text primary key,
  -- How many.
  count integer not null check (count > 0),
  -- Milliseconds of the wait that the last one brought; it begins anew with the program.
  wait_ms integer not null check (wait_ms >= 0)
) strict, without rowid;

-- A name that goes from the gallery goes from here too.
create trigger refusal_renamed after update of name on subject begin
  update or replace refusal set key = new.name where key = old.name;
end;
create trigger refusal_removed after delete on subject begin
  delete from refusal where key = old.name;
end;
