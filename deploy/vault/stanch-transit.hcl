# Leaked backups of transit keys, besides stanch.hcl:
#
#   vault policy write stanch-transit stanch-transit.hcl
#   vault token create -orphan -period=24h -policy=stanch -policy=stanch-transit
#
# and name the mount in STANCH_VAULT_TRANSIT_MOUNTS. Replace "transit" by it, and "+" by
# the keys that Stanch is to look after. Nothing here lets Stanch encrypt, decrypt, sign
# or export anything.

# Whether the engine takes a version that leaked, which an HMAC proves.
path "transit/verify/+" { capabilities = ["update"] }
path "transit/keys/+"   { capabilities = ["read"] }

# A new version, the only one that encrypts; and, when what was encrypted before has been
# encrypted anew, none that leaked decrypts. That can be taken back.
path "transit/keys/+/rotate" { capabilities = ["update"] }
path "transit/keys/+/config" { capabilities = ["update"], allowed_parameters = { "min_decryption_version" = [], "min_encryption_version" = [] } }

# Destroy the leaked versions, and with them whatever was not encrypted anew. Stanch does
# so only when a person has told it to after they were refused; leave the line out to
# keep that to people altogether.
path "transit/keys/+/trim" { capabilities = ["update"] }
