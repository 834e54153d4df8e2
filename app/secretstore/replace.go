package secretstore

import (
	"net/url"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/checks"
)

// Holds reports whether a stored value is a credential's secret, or a text with
// it inside, such as the URL of a database.
func Holds(value checks.Secret, c checks.Credential) bool {
	return c.Secret().Len() > 0 && strings.Contains(value.Expose(), c.Secret().Expose())
}

// Replace returns the fields that change where a credential is stored, with their new
// values: those that are a part of the old one, and those with its secret inside. What
// else is different of the new one, a key's id or a user's name, must have its place
// beside the secret: left out names the parts that have none, and without which the new
// secret is of no use.
func Replace(fields map[string]checks.Secret, old, fresh checks.Credential) (changed map[string]checks.Secret, leftOut []string) {
	changed = map[string]checks.Secret{}
	placed := map[string]bool{}
	for field, value := range fields {
		for part, was := range old.Parts {
			if now, ok := fresh.Parts[part]; ok && was.Len() > 0 && value == was {
				changed[field], placed[part] = now, true
			}
		}
		if _, done := changed[field]; !done && Holds(value, old) {
			text, whole := inText(value.Expose(), old, fresh)
			changed[field], placed[checks.PartSecret] = checks.NewSecret(text), true
			if whole {
				for part := range fresh.Parts {
					placed[part] = true
				}
			}
		}
	}
	for part, now := range fresh.Parts {
		if was, ok := old.Parts[part]; ok && was != now && !placed[part] {
			leftOut = append(leftOut, part)
		}
	}
	slices.Sort(leftOut)
	return changed, leftOut
}

// userPart is the part of a credential that names the user of a database.
const userPart = "user"

// inText puts the new secret into a text that has the old one inside. In a URL the
// user's name goes along with the password, which whole reports.
func inText(text string, old, fresh checks.Credential) (_ string, whole bool) {
	if u, err := url.Parse(text); err == nil && u.User != nil {
		name := u.User.Username()
		user, ok := old.Parts[userPart]
		if whole = ok && name == user.Expose() && fresh.Parts[userPart].Len() > 0; whole {
			name = fresh.Parts[userPart].Expose()
		}
		if password, _ := u.User.Password(); password == old.Secret().Expose() {
			u.User = url.UserPassword(name, fresh.Secret().Expose())
			return u.String(), whole
		}
	}
	return strings.ReplaceAll(text, old.Secret().Expose(), fresh.Secret().Expose()), false
}
