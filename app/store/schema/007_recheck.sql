-- When the provider is to be asked again about an open incident's credential; 0 is never.
alter table incidents add column ask_again integer not null default 0;
create index incidents_ask_again on incidents (ask_again) where ask_again > 0;
