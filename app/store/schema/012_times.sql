-- When the push that brought the credential was taken by GitHub, as far as GitHub told
-- that, when it was found, and when its provider had said whether it is live.
alter table incidents add column pushed integer not null default 0;
alter table incidents add column detected integer not null default 0;
alter table incidents add column verified integer not null default 0;
-- Incidents were opened as soon as the provider had answered.
update incidents set detected = opened, verified = case when validity in ('active', 'inactive') then opened else 0 end;
create index incidents_dead on incidents (dead) where dead > 0;
