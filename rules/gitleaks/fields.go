package gitleaks

// The values of keys, each of one type. A value of another is warned of, and is
// taken to be missing.

func (f *file) mismatch(e *entry, key, want string) {
	f.warn(e.line, "%s must be %s: it has no effect", key, want)
}

// field returns the value of a key if it has the type.
func field[T any](f *file, t *table, key, want string) (value T, line int) {
	e := t.take(key)
	if e == nil {
		return value, 0
	}
	value, ok := e.value.(T)
	if !ok {
		f.mismatch(e, key, want)
	}
	return value, e.line
}

func (f *file) text(t *table, key string) text {
	v, _ := field[text](f, t, key, "a text")
	return v
}

func (f *file) boolean(t *table, key string) bool {
	v, _ := field[bool](f, t, key, "true or false")
	return v
}

func (f *file) table(t *table, key string) *table {
	v, _ := field[*table](f, t, key, "a table")
	return v
}

// integer returns the whole number of a key, nil if there is none.
func (f *file) integer(t *table, key string) *int {
	if t.keys[key] == nil {
		return nil
	}
	v, line := field[int64](f, t, key, "a whole number")
	const most = 1 << 30
	if v < 0 || v > most {
		f.warn(line, "%s is %d: it must be between 0 and %d, and has no effect", key, v, most)
		return nil
	}
	n := int(v)
	return &n
}

// number returns the number of a key, with or without a fraction, nil if there is
// none.
func (f *file) number(t *table, key string) *float64 {
	e := t.take(key)
	if e == nil {
		return nil
	}
	switch v := e.value.(type) {
	case float64:
		return &v
	case int64:
		n := float64(v)
		return &n
	}
	f.mismatch(e, key, "a number")
	return nil
}

// texts returns the list of texts of a key.
func (f *file) texts(t *table, key string) []text {
	values, line := field[[]any](f, t, key, "a list of texts")
	var all []text
	for _, v := range values {
		if s, ok := v.(text); ok {
			all = append(all, s)
		} else {
			f.warn(line, "%s must be a list of texts: another value in it has no effect", key)
		}
	}
	return all
}

// tables returns the tables of a key.
func (f *file) tables(t *table, key string) []*table {
	if e := t.keys[key]; e != nil {
		if none, ok := e.value.([]any); ok && len(none) == 0 {
			e.read = true
			return nil
		}
	}
	v, _ := field[[]*table](f, t, key, "tables, [["+key+"]]")
	return v
}

// plain returns the texts without their lines.
func plain(all []text) []string {
	var texts []string
	for _, t := range all {
		texts = append(texts, t.string)
	}
	return texts
}
