-- What was known before a replacement was asked for, as package app wrote it; empty
-- until the first request was about to be sent.
alter table actions add column prepared text not null default '';
