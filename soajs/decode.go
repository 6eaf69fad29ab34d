package soajs

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// decoder sets what a value of JSON is for; path names it in errors.
type decoder func(path string, raw json.RawMessage) error

// decode reads a dbConfig key by key. encoding/json would take keys in any case, let unknown ones pass, and stop
// at the first wrong type.
func decode(data []byte, c *Config) error {
	return fields(map[string]decoder{
		"name":        into(&c.Name, "a string"),
		"prefix":      into(&c.Prefix, "a string"),
		"servers":     servers(&c.Servers),
		"credentials": credentials(&c.Credentials),
		"URLParam":    object(&c.URLParam),
		"extraParam": fields(map[string]decoder{
			"db":      object(&c.ExtraParam.DB),
			"server":  object(&c.ExtraParam.Server),
			"replSet": object(&c.ExtraParam.ReplSet),
			"mongos":  object(&c.ExtraParam.Mongos),
		}),
		"store":       object(&c.Store),
		"collection":  into(&c.Collection, "a string"),
		"stringify":   into(&c.Stringify, "a boolean"),
		"expireAfter": whole(&c.ExpireAfter),
	})("", data)
}

// kindOf names the type of a JSON value.
func kindOf(raw json.RawMessage) string {
	switch text := strings.TrimSpace(string(raw)); text[:min(1, len(text))] {
	case "":
		return "nothing"
	case `"`:
		return "a string"
	case "{":
		return "an object"
	case "[":
		return "an array"
	case "t", "f":
		return "a boolean"
	case "n":
		return "null"
	}
	return "a number"
}

func wrongType(path, is, want string) error {
	if path == "" {
		path = "the dbConfig"
	}
	return fmt.Errorf("soajs: %s is %s, not %s", path, is, want)
}

// into decodes a value of one type.
func into[T any](target *T, want string) decoder {
	return func(path string, raw json.RawMessage) error {
		if is := kindOf(raw); is != want {
			return wrongType(path, is, want)
		}
		return json.Unmarshal(raw, target)
	}
}

// object decodes options, whose names and types [Config.Validate] looks at; null is like none.
func object(target *map[string]any) decoder {
	return optional(into(target, "an object"))
}

// optional lets null be like an absent value.
func optional(d decoder) decoder {
	return func(path string, raw json.RawMessage) error {
		if kindOf(raw) == "null" {
			return nil
		}
		return d(path, raw)
	}
}

// whole decodes an integer.
func whole(target *int64) decoder {
	return func(path string, raw json.RawMessage) error {
		var f float64
		if err := into(&f, "a number")(path, raw); err != nil {
			return err
		}
		if f != math.Trunc(f) || math.Abs(f) > 1<<53 {
			return fmt.Errorf("soajs: %s is %v, not a whole number", path, f)
		}
		*target = int64(f)
		return nil
	}
}

// fields decodes an object key by key, and reports every key that has no decoder; null is like none.
func fields(known map[string]decoder) decoder {
	return optional(func(path string, raw json.RawMessage) error {
		var values map[string]json.RawMessage
		if err := into(&values, "an object")(path, raw); err != nil {
			return err
		}
		var errs []error
		for _, key := range slices.Sorted(maps.Keys(values)) {
			name := strings.TrimPrefix(path+"."+key, ".")
			if d, ok := known[key]; ok {
				errs = append(errs, d(name, values[key]))
			} else {
				errs = append(errs, unknown(name, key, slices.Sorted(maps.Keys(known))))
			}
		}
		return errors.Join(errs...)
	})
}

// unknown reports a key, with the one that may have been meant.
func unknown(path, key string, known []string) error {
	for _, name := range known {
		if strings.EqualFold(name, key) {
			return fmt.Errorf("soajs: %s is no key of a dbConfig; %s is", path, name)
		}
	}
	return fmt.Errorf("soajs: %s is no key of a dbConfig, nor of the driver", path)
}

func servers(target *[]Server) decoder {
	return func(path string, raw json.RawMessage) error {
		var list []json.RawMessage
		if err := into(&list, "an array")(path, raw); err != nil {
			return err
		}
		var errs []error
		for i, element := range list {
			var s Server
			errs = append(errs, fields(map[string]decoder{
				"host": into(&s.Host, "a string"),
				"port": port(&s.Port),
			})(fmt.Sprintf("%s[%d]", path, i), element))
			*target = append(*target, s)
		}
		return errors.Join(errs...)
	}
}

// port decodes a number, or the text of one: connect-mongo-soajs only puts it into the connection string.
func port(target *int) decoder {
	return func(path string, raw json.RawMessage) error {
		if kindOf(raw) != "a string" {
			var n int64
			err := whole(&n)(path, raw)
			*target = int(n)
			return err
		}
		var text string
		err := json.Unmarshal(raw, &text)
		if text != "" {
			*target, err = strconv.Atoi(text)
		}
		if err != nil {
			return fmt.Errorf("soajs: %s is %q, not a number", path, text)
		}
		return nil
	}
}

func credentials(target **Credentials) decoder {
	return optional(func(path string, raw json.RawMessage) error {
		c := new(Credentials)
		*target = c
		return fields(map[string]decoder{
			"username": into(&c.Username, "a string"),
			"password": into(&c.Password, "a string"),
		})(path, raw)
	})
}
