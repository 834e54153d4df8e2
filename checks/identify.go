package checks

// Identify says what a secret is that somebody else found: the rules look at it as
// it stands, and, for those that want to see its name, as the value of a variable
// of that name.
func (s *Scanner) Identify(name string, secret Secret) (Finding, bool) {
	value := secret.Expose()
	for _, text := range []string{value, name + " = \"" + value + "\""} {
		found, err := s.Examine(name, []byte(text))
		if err != nil {
			continue
		}
		for _, f := range found {
			if f.Credential.Secret().Expose() == value {
				return f, true
			}
		}
	}
	return Finding{}, false
}
