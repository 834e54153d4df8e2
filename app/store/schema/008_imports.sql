-- The incidents whose credentials others found, with the repository that they named, or
-- 0 for none: its policy, or the operator's, counts for them.
create table imports (
	incident      text not null references incidents (id),
	repository_id integer not null,
	primary key (incident, repository_id)
) without rowid;
create index imports_repository on imports (repository_id);
