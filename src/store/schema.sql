-- Version 1 of the database. Later versions are numbered steps in upgrade.rs; this file stays as
-- it is, so that every database ever written walks the same way to the present.

-- Enrolled people.
create table subject (
  id integer primary key,
  -- As validated by SubjectName: what events call `subject_id`.
  name text not null unique,
  -- RFC 3339 time of the first enrolment.
  created text not null
) strict;

-- Enrolled faces. Embeddings of different models cannot be compared, so that each template names
-- its model; templates of a model that is not in use stay until the subject is removed.
create table template (
  id integer primary key,
  subject_id integer not null references subject (id) on delete cascade,
  -- SHA-256 of the model's file, lower-case hexadecimal.
  model_id text not null,
  -- One step of `vector`.
  scale real not null check (scale > 0),
  -- One signed byte per component.
  vector blob not null check (length(vector) > 0),
  -- Where the face came from, such as the name of the photo.
  source text not null,
  -- RFC 3339 time of the enrolment.
  created text not null
) strict;

create index template_by_model on template (model_id, subject_id);
create index template_by_subject on template (subject_id);

-- The audit trail: every event, published or not.
create table event (
  -- Counts this device's events without gaps, over restarts and over pruning.
  seq integer primary key,
  -- ULID.
  event_id text not null unique,
  -- Milliseconds since 1970 by the device's clock.
  ts integer not null,
  -- Whether that clock could be believed.
  clock_synced integer not null check (clock_synced in (0, 1)),
  -- The event as published.
  json text not null
) strict;

create index event_by_time on event (ts) where clock_synced;

-- Events that the broker has not acknowledged yet.
create table outbox (
  seq integer primary key references event (seq)
) strict;

-- Numbers that outlive the rows they count.
create table counter (
  name text primary key,
  value integer not null
) strict, without rowid;

insert into counter (name, value) values
  -- `seq` of the newest event.
  ('event_seq', 0),
  -- Events that left the outbox unsent.
  ('outbox_dropped', 0),
  -- Grows with every change of subjects and templates, by whichever process.
  ('gallery_revision', 0);

create trigger subject_inserted after insert on subject begin
  update counter set value = value + 1 where name = 'gallery_revision';
end;
create trigger subject_updated after update on subject begin
  update counter set value = value + 1 where name = 'gallery_revision';
end;
create trigger subject_deleted after delete on subject begin
  update counter set value = value + 1 where name = 'gallery_revision';
end;
create trigger template_inserted after insert on template begin
  update counter set value = value + 1 where name = 'gallery_revision';
end;
create trigger template_deleted after delete on template begin
  update counter set value = value + 1 where name = 'gallery_revision';
end;
