# Certificates of leaked private keys, besides stanch.hcl:
#
#   vault policy write stanch-pki stanch-pki.hcl
#   vault token create -orphan -period=24h -policy=stanch -policy=stanch-pki
#
# and name the mount in STANCH_VAULT_PKI_MOUNTS. Replace "pki" by it. Which certificate
# is of a leaked key is told by its public key; it is revoked with the private key
# itself, so that Stanch can revoke no other ("pki/revoke" could).
path "pki/certs"           { capabilities = ["list"] }
path "pki/revoke-with-key" { capabilities = ["update"] }

# A new key is made by Stanch and certified by the role that certified the leaked one.
# Name these roles in place of "+" (and in STANCH_VAULT_PKI_ROLES) to have it sign by no
# others. Without these lines a person replaces keys.
path "pki/roles"   { capabilities = ["list"] }
path "pki/roles/+" { capabilities = ["read"] }
path "pki/sign/+"  { capabilities = ["update"] }
