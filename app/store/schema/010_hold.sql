-- Whether the provider can disable the credential before it deletes it, for how long
-- that can be taken back, and until when.
alter table incidents add column reversible integer not null default 0;
alter table incidents add column hold integer not null default 0;
alter table incidents add column held integer not null default 0;
-- When a person said that nobody uses the old credential any more.
alter table incidents add column confirmed integer not null default 0;

-- The store and the path within it that take the replacement of what no store holds.
alter table incidents add column adopt text not null default '';

-- On whose word the remediation runs: "policy", or an actor of the audit log.
alter table incidents add column approver text not null default '';
alter table incidents add column approved integer not null default 0;
create index incidents_approved on incidents (approved) where approver = 'policy';

-- What only one remediation may work on at a time, such as a user who can have two keys.
create table leases (
	resource text primary key,
	incident text not null references incidents,
	taken    integer not null
) strict;
