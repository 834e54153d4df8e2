-- People who are signed in to the dashboard. Who has only this table cannot act as
-- one of them: what their browsers hold is not in it.
create table sessions (
	id      text primary key, -- SHA-256 of what the browser holds
	person  text not null,    -- JSON: the account
	expires integer not null
) strict;
create index sessions_expires on sessions (expires);

create index audit_log_subject on audit_log (subject);
create index checks_repository on checks (repository_id, received);
-- [sqlite]
create index repositories_name on repositories (owner collate nocase, name collate nocase);
-- [postgres]
create index repositories_name on repositories (lower(owner), lower(name));
-- [both]
