package soajs_test

import (
	"os"
	"strings"
	"testing"

	"github.com/mongostore/mongostore/soajs"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// Whatever is parsed, it has an error that begins with the package's name, or a connection string that the driver
// takes, but for what only the driver can know.
func FuzzParse(f *testing.F) {
	for _, name := range []string{"readme.json", "reference.json"} {
		data, err := os.ReadFile("testdata/" + name) //nolint:gosec // our own
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for data := range wrong {
		f.Add([]byte(data))
	}
	f.Add([]byte(minimal + `, "credentials": {"username": "a@b:c/d%", "password": "%41+ "}, "URLParam": {"ssl": true}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := soajs.Parse(data)
		if err != nil {
			if !strings.HasPrefix(err.Error(), "soajs: ") {
				t.Errorf("error %v", err)
			}
			_, _, _ = c.URI(), c.Config(), c.Ignored()
			return
		}
		o := options.Client().ApplyURI(c.URI())
		if err := o.Validate(); err != nil && strings.Contains(err.Error(), "error parsing uri") && len(c.URLParam) == 0 {
			t.Errorf("%s: %v", c.URI(), err)
		}
		if c.Config().Database != c.Prefix+c.Name {
			t.Errorf("%+v", c)
		}
	})
}
