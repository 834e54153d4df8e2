# Leaked passwords that the database engine keeps, besides stanch.hcl:
#
#   vault policy write stanch-database stanch-database.hcl
#   vault token create -orphan -period=24h -policy=stanch -policy=stanch-database
#
# and name the mount in STANCH_VAULT_DATABASE_MOUNTS. Replace "database" by it, and "+"
# by the roles that Stanch is to look after.

# Static roles: whose is the password, is it the one that Vault set last, and set the
# next. Whoever may read static-creds has the passwords.
path "database/static-roles"   { capabilities = ["list"] }
path "database/static-roles/+" { capabilities = ["read"] }
path "database/static-creds/+" { capabilities = ["read"] }
path "database/rotate-role/+"  { capabilities = ["update"] }

# Users that Vault makes: which lease is whose, and end it. Vault tells the names of
# leases only to "sudo".
path "database/roles"                     { capabilities = ["list"] }
path "sys/leases/lookup/database/creds/+" { capabilities = ["list", "sudo"] }
path "sys/leases/lookup"                  { capabilities = ["update"] }
path "sys/leases/revoke"                  { capabilities = ["update"] }

# The user that Vault itself logs in as. After rotate-root nobody but Vault knows the
# password, and nobody can take that back: where people or services use that user too,
# leave the last line out, and the leak is left to a person.
path "database/config"        { capabilities = ["list"] }
path "database/config/+"      { capabilities = ["read"] }
path "database/rotate-root/+" { capabilities = ["update"] }
