-- Further accounts whose password is the one of an incident, and leaked with it: the
-- credentials, encrypted, until the incident is over and they are asked about in turn.
create table accounts (
	incident text not null,
	account  text not null, -- whose it is, as its kind names it
	sealed   blob not null,
	ask      integer not null, -- not before then
	primary key (incident, account)
) strict;
