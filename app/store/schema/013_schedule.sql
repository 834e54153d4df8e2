-- What the policy has rotated from time to time: which credential is there, since when,
-- the incident of its rotation, and why it could not be begun.
create table schedules (
	secret      text primary key,
	fingerprint text not null,
	since       integer not null,
	incident    text not null,
	problem     text not null,
	checked     integer not null
) strict;
