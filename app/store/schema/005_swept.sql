-- When the refs of a repository were last compared with what was scanned of them.
alter table repositories add column swept integer not null default 0;
