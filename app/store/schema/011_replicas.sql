-- The processes that work on one database at the same time, for which SQLite has no use.
-- One that is not heard of for a while is taken out; what it held and ran is others'.
create table replicas (
	id    text primary key,
	heard integer not null -- by the database's clock
) strict;

-- What one replica alone does at a time, for instance write to one check run.
create table holds (
	name    text primary key,
	replica text not null references replicas on delete cascade
) strict;
create index holds_replica on holds (replica);
