-- From version 1 to 2, with what code has to do (upgrade.rs): templates are sealed, the audit
-- trail is chained.

-- Keys that are no device key, sealed by that.
create table secret (
  name text primary key,
  sealed blob not null
) strict, without rowid;

-- The event number at which the subject took its present name.
alter table subject add column named_at integer not null default 0;

-- Names that subjects had before. In the events after `since` up to `until` the name means this
-- subject; who removes the subject finds them by it.
create table former_name (
  subject_id integer not null references subject (id) on delete cascade,
  name text not null,
  since integer not null,
  until integer not null
) strict;

create index former_name_by_subject on former_name (subject_id);

-- The templates of version 1, which the code seals into the new table and then drops.
alter table template rename to plain_template;
drop index template_by_model;
drop index template_by_subject;
drop trigger template_inserted;
drop trigger template_deleted;

create table template (
  id integer primary key,
  subject_id integer not null references subject (id) on delete cascade,
  -- SHA-256 of the model's file, lower-case hexadecimal.
  model_id text not null,
  -- Nonce, sealed template, tag. The subject's name, the model and `id` belong to what is sealed:
  -- in another row or under another name it does not open.
  sealed blob not null,
  -- Where the face came from: photo, camera, import.
  source text not null,
  -- RFC 3339 time of the enrolment.
  created text not null
) strict;

create index template_by_model on template (model_id, subject_id);
create index template_by_subject on template (subject_id);

create trigger template_inserted after insert on template begin
  update counter set value = value + 1 where name = 'gallery_revision';
end;
create trigger template_updated after update on template begin
  update counter set value = value + 1 where name = 'gallery_revision';
end;
create trigger template_deleted after delete on template begin
  update counter set value = value + 1 where name = 'gallery_revision';
end;

-- The keyed hash that binds the line to the one before it.
alter table event add column link blob not null default x'';

-- Both ends of the chain: 'anchor' is the last line that pruning took (0 for none), 'head' the
-- newest. `mark` is a keyed hash of the other two.
create table chain_end (
  name text primary key,
  seq integer not null,
  link blob not null,
  mark blob not null
) strict, without rowid;

-- 1 while bytes of removed people may still lie in free parts of the files.
insert into counter (name, value) values ('scrub_due', 1);
