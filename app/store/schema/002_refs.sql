-- What is known of the repositories that the App may see. GitHub's number stays
-- when a repository is renamed or moves to another owner.
create table repositories (
	id             integer primary key,
	installation   integer not null,
	owner          text not null,
	name           text not null,
	default_branch text not null,
	private        integer not null,
	state          text not null -- "active", "suspended" or "gone"
) strict;
create index repositories_installation on repositories (installation);

-- [sqlite]
insert into repositories
	select repository_id, installation, json_extract(repository, '$.owner'), json_extract(repository, '$.name'),
		json_extract(repository, '$.default_branch'), json_extract(repository, '$.private'), 'active'
	from (select *, max(received) from checks group by repository_id);
-- [both]

-- What each branch and tag pointed at when it was last scanned to the end.
create table refs (
	installation  integer not null,
	repository_id integer not null,
	ref           text not null,    -- "refs/heads/main"
	sha           text not null,    -- a commit, or an annotated tag
	primary key (installation, repository_id, ref)
) strict;

-- How far the scan of a repository's whole history has come.
create table backfills (
	repository_id integer primary key references repositories,
	installation  integer not null,
	reached       text not null default '', -- commits whose history is scanned, one a line
	commits       integer not null default 0,
	started       integer not null,
	finished      integer not null default 0
) strict;

-- GitHub's own alerts that were taken over, with the incidents of their secrets.
create table alerts (
	repository_id integer not null,
	number        integer not null,
	installation  integer not null,
	incident      text not null references incidents,
	resolved      integer not null default 0, -- when GitHub was told
	primary key (repository_id, number)
) strict;
create index alerts_incident on alerts (incident);
