# Which token is meant, when nobody knows its value:
#
#   vault policy write stanch-tokens stanch-tokens.hcl
#   vault token create -orphan -period=24h -policy=stanch -policy=stanch-issue -policy=stanch-tokens
#
# When Stanch asked for a replacement and the answer got lost, it looks through the
# tokens for the one whose metadata names the operation, and revokes it: nobody knows
# it. It does the same with the tokens that a leaked secret id of AppRole logged in.
# Leave these lines out and a person does it.
#
# An accessor cannot be used as a token. But whoever may do all three can revoke any
# token, and so take down every service: give them to Stanch if it may do that.
path "auth/token/accessors"       { capabilities = ["list", "sudo"] }
path "auth/token/lookup-accessor" { capabilities = ["update"] }
path "auth/token/revoke-accessor" { capabilities = ["update"] }
