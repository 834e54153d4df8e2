package secretstore

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/stanch-dev/stanch/checks"
)

// Holds reports whether a stored value is a credential's secret or certificate, or a
// text with it inside, such as the URL of a database.
func Holds(value checks.Secret, c checks.Credential) bool {
	for _, part := range []string{checks.PartSecret, certificatePart} {
		for _, form := range forms(c.Parts[part].Expose()) {
			if form != "" && strings.Contains(value.Expose(), form) {
				return true
			}
		}
	}
	return false
}

// forms are the two ways in which a private key is written: with the ends of its lines,
// and with these escaped, as inside JSON, where most of those that leak are found. Any
// other text is written in one way.
func forms(text string) [2]string {
	if !strings.Contains(text, "-----BEGIN ") {
		return [2]string{text, text}
	}
	plain := strings.ReplaceAll(text, `\n`, "\n")
	return [2]string{plain, strings.ReplaceAll(plain, "\n", `\n`)}
}

// readings are the texts by which a stored value is found: the value, in both forms;
// of a whole JSON object such as the key file of a service account, those in it; the
// passwords of connection strings; and private keys among other text, such as their
// certificates.
func readings(text string) (all []string) {
	if text == "" {
		return nil
	}
	all = append(writtenForms(text), connectionPasswords(text)...)
	if inside, ok := objectOf(text); ok {
		for _, value := range inside {
			if value != "" {
				all = append(all, writtenForms(value)...)
			}
		}
	}
	return all
}

// writtenForms are the forms of a text and of the private keys in it.
func writtenForms(text string) (all []string) {
	for _, one := range append(privateKeyBlock.FindAllString(text, -1), text) {
		written := forms(one)
		all = append(all, written[:]...)
	}
	return all
}

// objectOf are the texts in a value that is a JSON object.
func objectOf(text string) (map[string]string, bool) {
	inside := fieldsOf(text)
	_, whole := inside[WholeText]
	return inside, !whole && strings.HasPrefix(strings.TrimSpace(text), "{")
}

// Replace returns the fields that change where a credential is stored, with their new
// values: those that are a part of the old one, and those with its secret inside. What
// else is different of the new one, a key's id or a user's name, must have its place
// beside the secret: left out names the parts that have none, and without which the new
// secret is of no use. What is kept beside a private key of its certificate changes along.
func Replace(fields map[string]checks.Secret, old, fresh checks.Credential) (changed map[string]checks.Secret, leftOut []string) {
	changed = map[string]checks.Secret{}
	placed := map[string]bool{}
	for field, value := range fields {
		for part, was := range old.Parts {
			if now, ok := fresh.Parts[part]; ok && was.Len() > 0 && mayBear(field, part) {
				for n, form := range forms(was.Expose()) {
					if _, done := changed[field]; value.Expose() == form && !(done && now == was) {
						changed[field], placed[part] = checks.NewSecret(forms(now.Expose())[n]), true
					}
				}
			}
		}
		if _, done := changed[field]; !done && Holds(value, old) {
			text, parts := inText(value.Expose(), old, fresh)
			changed[field] = checks.NewSecret(text)
			for _, part := range parts {
				placed[part] = true
			}
		}
	}
	if r := newRenewal(fields, old, fresh); r != nil && !r.renew(fields, changed) && !placed[certificatePart] {
		leftOut = append(leftOut, certificatePart)
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

// ofAnother are the names of fields that hold something else than a user, which may be
// called the same: a database is often named after its user.
var ofAnother = regexp.MustCompile(`(?i)database|schema|catalog|host|server|db_?name|(^|_)db$`)

// mayBear reports whether a field that has the value of a part is that part.
func mayBear(field, part string) bool {
	return part != userPart || !ofAnother.MatchString(field) || strings.Contains(strings.ToLower(field), userPart)
}

// inText puts the new secret into a text that has the old one inside, and returns which
// parts it put there. In a URL the user's name goes along with the password, and in a
// JSON object all parts that stand in it by themselves.
func inText(text string, old, fresh checks.Credential) (_ string, placed []string) {
	if inside, ok := objectOf(text); ok {
		if changed, leftOut := Replace(content("", inside).Fields, old, fresh); !slices.Contains(leftOut, checks.PartSecret) {
			if written, err := withFields(text, changed); err == nil {
				return written, without(fresh, leftOut)
			}
		}
	}
	if u, err := url.Parse(text); err == nil && u.User != nil {
		name := u.User.Username()
		user, ok := old.Parts[userPart]
		placed = []string{checks.PartSecret}
		if ok && name == user.Expose() && fresh.Parts[userPart].Len() > 0 {
			name, placed = fresh.Parts[userPart].Expose(), without(fresh, nil)
		}
		if password, _ := u.User.Password(); password == old.Secret().Expose() {
			u.User = url.UserPassword(name, fresh.Secret().Expose())
			return u.String(), placed
		}
	}
	now := forms(fresh.Secret().Expose())
	for n, was := range forms(old.Secret().Expose()) {
		text = strings.ReplaceAll(text, was, now[n])
	}
	return text, []string{checks.PartSecret}
}

// without are the names of a credential's parts, without some.
func without(c checks.Credential, some []string) []string {
	return slices.DeleteFunc(slices.Collect(maps.Keys(c.Parts)), func(part string) bool { return slices.Contains(some, part) })
}
