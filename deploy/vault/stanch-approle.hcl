# Destroying and replacing leaked secret ids of AppRole, besides stanch.hcl:
#
#   vault policy write stanch-approle stanch-approle.hcl
#   vault token create -orphan -period=24h -policy=stanch -policy=stanch-approle -policy=stanch-tokens
#
# Replace "approle" by where it is mounted, and "+" by the names of the roles that
# Stanch is to look after. To issue is power: who may give a role a secret id and knows
# its role id is that role. A new secret id gets the limits of the one that it replaces.
#
# stanch-tokens.hcl lets Stanch revoke the tokens that a leaked secret id made, as far
# as it is certain which.
path "auth/approle/role/+/secret-id/destroy" { capabilities = ["update"] }
path "auth/approle/role/+/custom-secret-id"  { capabilities = ["update"] }
