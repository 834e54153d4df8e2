# Access keys of the AWS engine, besides stanch.hcl:
#
#   vault policy write stanch-aws stanch-aws.hcl
#   vault token create -orphan -period=24h -policy=stanch -policy=stanch-aws
#
# and name the mount in STANCH_VAULT_AWS_MOUNTS. Replace "aws" by it.
#
# The key with which the engine itself acts. Leave the second line out where others use
# that key too.
path "aws/config/root"        { capabilities = ["read"] }
path "aws/config/rotate-root" { capabilities = ["update"] }

# Static roles. The engine has no way to rotate one: it is deleted, with the leaked key,
# and written again. Who may write a role may have keys of any user that the engine may
# make keys for: name the roles in place of "+" to narrow that.
path "aws/static-roles"   { capabilities = ["list"] }
path "aws/static-creds/+" { capabilities = ["read"] }
path "aws/static-roles/+" { capabilities = ["read", "create", "update", "delete"] }

# Users that the engine made: their leases are looked through, and one is revoked.
path "aws/roles"                       { capabilities = ["list"] }
path "sys/leases/lookup/aws/creds/+"   { capabilities = ["list", "sudo"] }
path "sys/leases/lookup"               { capabilities = ["update"] }
path "sys/leases/revoke"               { capabilities = ["update"] }
