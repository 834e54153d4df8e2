# Issuing replacements for leaked Vault tokens is power: who may create a token
# with a policy has that policy. So it is a policy of its own, and a token role
# says which policies Stanch may hand out:
#
#   vault write auth/token/roles/stanch-issue \
#       orphan=true renewable=true allowed_policies_glob="ci-*"
#   vault policy write stanch-issue stanch-issue.hcl
#   vault token create -orphan -period=24h -policy=stanch -policy=stanch-issue
#
# and name the role stanch-issue in Stanch's configuration. New tokens are
# orphans, so that they outlive Stanch's own; they get the policies of the token
# that they replace, never more. Tokens of services that live as long as they are
# renewed need a role with token_period.
path "auth/token/create/stanch-issue" { capabilities = ["update"] }

# Without a role Vault lets only "sudo" hand out policies that the creator does
# not have. That is all policies but root. Do not, unless you know why:
#
#   path "auth/token/create-orphan" { capabilities = ["update", "sudo"] }
