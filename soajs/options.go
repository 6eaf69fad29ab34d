package soajs

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"

	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/tag"
)

// reading is what the options of a Config come to, for the driver of today.
type reading struct {
	uri      map[string]string
	prefer   string // readPreference; "": none
	tags     tag.Set
	security security
	ignored  []string
	errs     []error
}

// read goes through all options in the order in which the driver 2.1 merged them, so that the last one wins.
func (c Config) read() *reading {
	r := &reading{uri: make(map[string]string)}
	r.group("URLParam", c.URLParam, urlParam)
	r.group("extraParam.db", c.ExtraParam.DB, dbParam)
	r.group("extraParam.server", c.ExtraParam.Server, topologyParam)
	r.group("extraParam.replSet", c.ExtraParam.ReplSet, topologyParam)
	r.group("extraParam.mongos", c.ExtraParam.Mongos, topologyParam)
	for _, key := range slices.Sorted(maps.Keys(c.Store)) {
		r.ignore("store."+key, "express-session's base class has no options")
	}
	if _, err := r.preference(); err != nil {
		r.errs = append(r.errs, fmt.Errorf("soajs: readPreference and readPreferenceTags: %w", err))
	}
	r.finishTLS()
	return r
}

// An option takes a value that is not null; its error says what is wrong with it, to follow the name and "is".
type option func(r *reading, path string, value any) error

// group reads one object of options.
func (r *reading) group(path string, values map[string]any, known map[string]option) {
	for _, key := range slices.Sorted(maps.Keys(values)) {
		name := path + "." + key
		take, ok := known[key]
		switch {
		case !ok:
			r.errs = append(r.errs, unknown(name, key, slices.Sorted(maps.Keys(known))))
		case values[key] == nil: // as where soajs documents what there is
		default:
			if err := take(r, name, values[key]); err != nil {
				r.errs = append(r.errs, fmt.Errorf("soajs: %s is %w", name, err))
			}
		}
	}
}

func (r *reading) ignore(path, why string) { r.ignored = append(r.ignored, path+": "+why) }

// without is an option that has no meaning any more, for a reason.
func without(why string) option {
	return func(r *reading, path string, _ any) error {
		r.ignore(path, why)
		return nil
	}
}

// text is an option of the connection string that is text.
func text(key string) option {
	return func(r *reading, _ string, value any) error {
		s, ok := value.(string)
		if !ok || s == "" {
			return fmt.Errorf("%s, not text", show(value))
		}
		r.uri[key] = s
		return nil
	}
}

// number is one that is a whole number, or the text of it.
func number(key string) option {
	return func(r *reading, _ string, value any) error {
		n, ok := wholeOf(value)
		if !ok || n < 0 {
			return fmt.Errorf("%s, not a whole number of 0 or more", show(value))
		}
		r.uri[key] = strconv.FormatInt(n, 10)
		return nil
	}
}

// flag is one that is true or false, or the text of it.
func flag(key string) option {
	return func(r *reading, _ string, value any) error {
		b, ok := boolOf(value)
		if !ok {
			return notBool(value)
		}
		r.uri[key] = strconv.FormatBool(b)
		return nil
	}
}

// secret is text that no error quotes.
func secret(key string) option {
	return func(r *reading, path string, value any) error {
		if text(key)(r, path, value) != nil {
			return errors.New("no text")
		}
		return nil
	}
}

// connectTimeout is a number, of which the driver 2.1 took 0 for its own default, 120 s.
func connectTimeout(r *reading, path string, value any) error {
	if n, ok := wholeOf(value); ok && n == 0 {
		r.ignore(path, "0 is the driver's own limit, now as then; it is 30 s today")
		return nil
	}
	return number("connectTimeoutMS")(r, path, value)
}

// writeConcern is a number of members, or "majority", or a tag.
func writeConcern(r *reading, _ string, value any) error {
	w := show(value)
	if s, ok := value.(string); ok {
		w = s
	}
	n, isNumber := wholeOf(value)
	switch value.(type) {
	case map[string]any, []any, bool:
		return fmt.Errorf("%s, not a number, \"majority\" or a tag", w)
	}
	if w == "" || isNumber && n <= 0 {
		return fmt.Errorf("%s, which is unacknowledged: nobody could tell whether a session was stored; use 1 or more, or \"majority\"", show(value))
	}
	r.uri["w"] = w
	return nil
}

// authMechanism leaves the choice to driver and server where DEFAULT did.
func authMechanism(r *reading, path string, value any) error {
	switch value {
	case "DEFAULT":
		return nil
	case "MONGODB-CR":
		return fmt.Errorf("MONGODB-CR, which MongoDB has not had since 4.0; leave it out")
	}
	return text("authMechanism")(r, path, value)
}

func gssapiServiceName(r *reading, path string, value any) error {
	if err := text("authMechanismProperties")(r, path, value); err != nil {
		return err
	}
	r.uri["authMechanismProperties"] = "SERVICE_NAME:" + r.uri["authMechanismProperties"]
	return nil
}

func readPreference(r *reading, _ string, value any) error {
	s, ok := value.(string)
	if _, err := readpref.ModeFromString(s); !ok || err != nil {
		return fmt.Errorf("%s, not one of primary, primaryPreferred, secondary, secondaryPreferred and nearest", show(value))
	}
	r.prefer = s
	return nil
}

func readPreferenceTags(r *reading, _ string, value any) error {
	s, ok := value.(string)
	set := tag.Set{}
	for part := range strings.SplitSeq(s, ",") {
		name, of, found := strings.Cut(strings.TrimSpace(part), ":")
		ok = ok && found && name != ""
		set = append(set, tag.Tag{Name: name, Value: of})
	}
	if !ok {
		return fmt.Errorf("%s, not of the form name:value,name:value", show(value))
	}
	r.tags = set
	return nil
}

// preference returns what the options say of reads; nil: nothing.
func (r *reading) preference() (*readpref.ReadPref, error) {
	if r.prefer == "" && r.tags == nil {
		return nil, nil
	}
	mode := readpref.PrimaryMode
	if r.prefer != "" {
		mode, _ = readpref.ModeFromString(r.prefer)
	}
	if r.tags == nil {
		return readpref.New(mode)
	}
	return readpref.New(mode, readpref.WithTagSets(r.tags))
}

// readPreference returns it, or nil, with which loads go to the primary.
func (r *reading) readPreference() *readpref.ReadPref {
	preference, err := r.preference()
	if err != nil {
		return nil
	}
	return preference
}

// show writes a value as it is in JSON, more or less.
func show(value any) string {
	switch v := value.(type) {
	case string:
		return strconv.Quote(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case map[string]any:
		return "an object"
	case []any:
		return "an array"
	}
	return fmt.Sprint(value)
}

func wholeOf(value any) (int64, bool) {
	switch v := value.(type) {
	case float64:
		return int64(v), v == math.Trunc(v) && math.Abs(v) <= 1<<53
	case int:
		return int64(v), true
	case string:
		n, err := strconv.ParseInt(v, 10, 64)
		return n, err == nil
	}
	return 0, false
}

func boolOf(value any) (is, ok bool) {
	switch value {
	case true, "true":
		return true, true
	case false, "false":
		return false, true
	}
	return false, false
}

func notBool(value any) error { return fmt.Errorf("%s, not true or false", show(value)) }
