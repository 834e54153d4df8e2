-- JSON: the policy that counted for a scan, as package app wrote it.
alter table scans add column judgement text not null default '';

-- What to do where no store holds the credential. Remediations that are under way
-- ask a person.
alter table incidents add column without_replacement text not null default '';

-- What an occurrence does to the check unless it is live, failure when empty; and
-- who says so.
alter table occurrences add column conclusion text not null default '';
alter table occurrences add column why text not null default '';

-- What people of a repository said is no leak. Live credentials overrule it.
create table allowances (
	installation  integer not null,
	repository_id integer not null,
	fingerprint   text not null,
	reason        text not null,
	owner         text not null,    -- who answers for it: "@dana"
	made          integer not null,
	expires       integer not null,
	primary key (installation, repository_id, fingerprint)
) strict;
