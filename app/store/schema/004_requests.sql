-- What a person asked for and another one may have to agree to: to rotate or to
-- revoke a credential, or to let a repository's checks pass with it for a while.
create table requests (
	id            text primary key,
	incident      text not null references incidents,
	repository_id integer not null, -- whose people decide
	verb          text not null,    -- "rotate", "revoke" or "bypass"
	reason        text not null,
	asker         text not null,    -- JSON: the account
	asked         integer not null,
	approver      text not null default '', -- JSON; empty while nobody agreed, or when nobody had to
	granted       integer not null default 0,
	expires       integer not null default 0, -- of a bypass that was granted
	ended         integer not null default 0  -- it has no effect any more
) strict;
create unique index requests_open on requests (incident, repository_id, verb) where ended = 0;
