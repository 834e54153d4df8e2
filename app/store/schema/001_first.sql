-- What Stanch remembers. No column holds a credential in the clear: fingerprints
-- are keyed HMACs, sealed columns are authenticated ciphertext, and both keys are
-- kept outside this database. Times are microseconds since 1970, 0 for never.

create table deliveries (
	id           text primary key, -- X-GitHub-Delivery, the same for every redelivery
	event        text not null,
	action       text not null,
	installation integer not null,
	received     integer not null,
	outcome      text not null     -- "queued", or why there is nothing to do
) strict;

-- One commit on which Stanch reports, whatever number of deliveries named it.
create table checks (
	id           text primary key, -- the check run's external_id
	installation integer not null,
	repository   text not null,    -- JSON
	repository_id integer not null,
	head_sha     text not null,
	received     integer not null, -- when the first delivery came in
	run_id       integer not null default 0, -- GitHub's id of the check run, 0 until it exists
	reported     text not null default '', -- digest of what the check run was last completed with
	unique (installation, repository_id, head_sha)
) strict;

create table check_pulls (
	check_id text not null references checks,
	number   integer not null,
	primary key (check_id, number)
) strict;

-- One range of commits, examined because of one delivery.
create table scans (
	delivery text primary key references deliveries,
	check_id text not null references checks,
	job      text not null,            -- JSON of the job's arguments, to run it again
	coverage text not null default '', -- JSON
	problem  text not null default '', -- why it could not be scanned
	finished integer not null default 0
) strict;
create index scans_check on scans (check_id);

create table incidents (
	id          text primary key,
	fingerprint text not null unique,
	rule        text not null,
	redacted    text not null,
	validity    text not null,     -- what the provider said first
	grade       text not null,
	evidence    text not null,     -- JSON
	opened      integer not null,
	received    integer not null,  -- when the delivery that brought it came in
	contained   integer not null default 0,
	rotated     integer not null default 0,
	dead        integer not null default 0,
	resolved    integer not null default 0,
	resolution  text not null default '',
	stuck       text not null default '',
	verb        text not null default '', -- the remediation that was approved
	plan_order  text not null default '',
	stored      text not null default '', -- JSON: where the credential is kept
	sealed_old  blob,                     -- the leaked credential, until the incident ends
	sealed_new  blob                      -- its replacement, until it stands in the store
) strict;

create table occurrences (
	incident   text not null references incidents,
	delivery   text not null references scans,
	commit_sha text not null,
	path       text not null,
	line       integer not null,
	col        integer not null,
	end_line   integer not null,
	end_col    integer not null,
	author     text not null,
	date       integer not null,
	in_tip     integer not null,
	primary key (incident, delivery, commit_sha, path, line, col)
) strict;
create index occurrences_delivery on occurrences (delivery);

-- The steps of remediations. A row without done is an attempt whose outcome is
-- not known yet.
create table actions (
	incident  text not null references incidents,
	step      text not null,
	operation text not null,    -- idempotency key for the outside world
	attempts  integer not null,
	attempted integer not null,
	done      integer not null default 0,
	detail    text not null default '', -- JSON
	primary key (incident, step)
) strict;

create table audit_log (
	seq     integer primary key,
	at      integer not null,
	actor   text not null,
	verb    text not null,
	subject text not null,
	detail  text not null,
	prev    text not null,
	hash    text not null
) strict;
-- [sqlite]
create trigger audit_log_is_append_only_update before update on audit_log
	begin select raise(abort, 'the audit log is append-only'); end;
create trigger audit_log_is_append_only_delete before delete on audit_log
	begin select raise(abort, 'the audit log is append-only'); end;
-- [postgres]
create function refuse_change() returns trigger language plpgsql as
	$$ begin raise exception 'the audit log is append-only'; end $$;
create trigger audit_log_is_append_only before update or delete or truncate on audit_log
	for each statement execute function refuse_change();
-- What SQLite's tables have anyway: the order in which rows came.
alter table checks add column rowid bigint generated always as identity;
alter table scans add column rowid bigint generated always as identity;
alter table occurrences add column rowid bigint generated always as identity;
alter table actions add column rowid bigint generated always as identity;
-- [both]

create table meta (
	name  text primary key,
	value text not null
) strict;
