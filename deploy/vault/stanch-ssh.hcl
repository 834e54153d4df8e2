# Leaked keys of SSH authorities, besides stanch.hcl:
#
#   vault policy write stanch-ssh stanch-ssh.hcl
#   vault token create -orphan -period=24h -policy=stanch -policy=stanch-ssh
#
# and name the mount in STANCH_VAULT_SSH_MOUNTS. Replace "ssh" by it. Nothing here lets
# Stanch sign a certificate, or put a key of its own into the engine. In Vault, where an
# engine has one authority, none of it is needed: the key is public there, and a person
# replaces it.

# Which keys the engine signs with.
path "ssh/issuers" { capabilities = ["list"] }

# Another authority, made in the engine, which signs from then on.
path "ssh/issuers/import/+" { capabilities = ["update"], denied_parameters = { "private_key" = [] } }

# The leaked one is deleted when a person has confirmed that the hosts have dropped it,
# and when no role names it.
path "ssh/roles"    { capabilities = ["list"] }
path "ssh/issuer/+" { capabilities = ["delete"] }
