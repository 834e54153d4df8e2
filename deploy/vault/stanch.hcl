# What Stanch may do in Vault or OpenBao, and nothing more:
#
#   vault policy write stanch stanch.hcl
#   vault token create -orphan -period=24h -policy=stanch
#
# Replace "secret" by the KV version 2 mount that holds credentials, and "*" by
# the folders that Stanch is to look after. A leaked value is found only where it
# may look. Issuing new Vault tokens takes more: see stanch-issue.hcl.

# Itself: is the token still good, and keep it so. Vault's policy "default"
# grants these too; they stand here so that Stanch works without it.
path "auth/token/lookup-self" { capabilities = ["read"] }
path "auth/token/renew-self"  { capabilities = ["update"] }

# Say what Stanch may not do that it should, for "stanch doctor". It may be left out.
path "sys/capabilities-self" { capabilities = ["update"] }

# Verify a leaked Vault token that may not look itself up. OpenBao needs this for
# every dead token, because it answers the same to dead and to denied.
path "auth/token/lookup" { capabilities = ["update"] }

# Verify a leaked secret id of AppRole: which roles are there, and does one know it?
# Logging in with it would use it up. Leave the two out and it is left to a person.
path "auth/approle/role"                    { capabilities = ["list"] }
path "auth/approle/role/+/secret-id/lookup" { capabilities = ["update"] }

# Revoke a leaked token that may not revoke itself. This is the strongest line of
# the file: it revokes any token that Stanch is given, and whoever holds Stanch's
# token needs the other token's value to do so. Leave it out and such tokens are
# left to a person.
path "auth/token/revoke" { capabilities = ["update"] }

# Locate: list the secrets, see which versions they have, and read the values to
# take their fingerprints.
path "secret/metadata/*" { capabilities = ["read", "list", "patch"] }
path "secret/data/*"     { capabilities = ["read", "create", "update"] }
# "create" and "update" write the replacement, always with check-and-set; "patch"
# of metadata notes the operation beside it and may be left out.

# The same metadata a folder at a time: OpenBao has it, Vault does not. Without it each
# search asks for every secret by itself.
path "secret/detailed-metadata/*" { capabilities = ["list"] }

# Retire: destroy the version with the leaked value when that is proved dead.
path "secret/destroy/*" { capabilities = ["update"] }

# Listing the mounts needs no line here: Vault shows every token the ones that it
# may use, and Stanch searches those unless it is told which.

# Who has read a leaked value stands in the log of an audit device, hashed: what is the
# hash? Name the device and its file in STANCH_VAULT_AUDIT_DEVICE and
# STANCH_VAULT_AUDIT_LOG, or leave this out. Whoever may ask can test guesses at values
# of the log, and no more.
path "sys/audit-hash/file" { capabilities = ["update"] }
