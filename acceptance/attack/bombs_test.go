package attack

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/sessions"
	"github.com/mongostore/mongostore"
	"github.com/mongostore/mongostore/acceptance/scenario"
	"github.com/mongostore/mongostore/internal/mongotest"
	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
)

// A bomb goes off in a process of its own: this test binary run once more.
const (
	bombVariable        = "MONGOSTORE_ATTACK_BOMB"
	uriVariable         = "MONGOSTORE_ATTACK_URI" // with a database
	sealVariable        = "MONGOSTORE_ATTACK_SEAL"
	largest             = 15 << 20 // of a payload in a document
	bombTimeout         = 2 * time.Minute
	memoryPerByte       = 100
	memoryBeside  int64 = 64 << 20
)

// bombs are payloads that are meant to hurt who decodes them.
var bombs = map[string]func() any{
	"gob: a message of 2 GB announced": func() any { return []byte("\xfc\x7f\xff\xff\xff\x01") },
	"gob: a map of 2^40 entries":       func() any { return announced(map[any]any{"a": 1}, false, 1<<40) },
	"gob: a slice of 2^28 texts":       func() any { return announced(map[any]any{"a": []string{"b"}}, true, 1<<28) },
	"gob: a slice of 2^60 numbers":     func() any { return announced(map[any]any{"a": []int{1}}, true, 1<<60) },
	"gob: a list of 2^28 values":       func() any { return announced(map[any]any{"a": []any{1}}, true, 1<<28) },
	"gob: lists 10,000 deep":           func() any { return deepGob(10_000) },
	"compact: lists 10,000 deep":       func() any { return []byte("\x00\x01\x02a" + strings.Repeat("\x13\x02", 10_000) + "\x00\x00") },
	"compact: a list as long as a record can be": func() any {
		return []byte("\x00\x01\x02a\x13" + uvarint(uint64(wide())+1) + strings.Repeat("\x00", wide()) + "\x00")
	},
	"compact: a list of 2^60 values":          func() any { return []byte("\x00\x01\x02a\x13" + uvarint(1<<60)) },
	"compact: a text of 2^60 bytes":           func() any { return []byte("\x00\x01\x02a\x0f" + uvarint(1<<60)) },
	"json: lists 10,000 deep":                 func() any { return deepJSON(10_000) },
	"json: lists 5 million deep":              func() any { return deepJSON(5_000_000) },
	"json: objects 10,001 deep":               func() any { return strings.Repeat(`{"a":`, 10_001) + "1" + strings.Repeat("}", 10_001) },
	"json: a number of 15 million digits":     func() any { return `{"a":` + strings.Repeat("1", largest) + "}" },
	"json: an exponent of ages":               func() any { return `{"a":1e99999999999}` },
	"json: a list as long as a record can be": func() any { return `{"a":[` + strings.Repeat("1,", wide()/3) + "1]}" },
	"bson: documents 100 deep":                func() any { return deepBSON(100) },
	"bson: documents 10,000 deep":             func() any { return deepBSON(10_000) },
	"bson: documents as deep as a record can": func() any { return deepBSON(largest / 8) },
	"bson: a list as long as a record can be": func() any { return wideBSON(wide() / 15) },
	"bson: scopes 80 deep":                    func() any { return deepScope(80) },
	"bson: scopes as deep as a record can":    func() any { return deepScope(largest / 17) },
	"15 MB of zeros":                          func() any { return make([]byte, largest) },
}

// wide is how many bytes a list takes that is as long as a record can be; a
// tenth of that in a short run.
func wide() int { return inFull(largest, largest/10) - 100 }

// grantedBombs are those that SECURITY.md grants to who writes unsealed records:
// encoding/gob makes room for as many entries as a map of a registered type
// announces, here they are few, and follows lists until the stack ends.
var grantedBombs = map[string]func() any{
	"gob: an inner map of 4 million entries": func() any {
		return announced(map[any]any{"a": map[string]any{"b": 1}}, true, 1<<22)
	},
	"gob: lists as deep as a record can": func() any { return deepGob(largest / 28) },
}

func init() { //nolint:gochecknoinits // as applications do
	gob.Register(map[string]any{})
	gob.Register([]any{})
}

func bombOf(name string) any {
	if bomb, ok := grantedBombs[name]; ok {
		return bomb()
	}
	return bombs[name]()
}

// harm is what a bomb did.
type harm struct {
	Error   string
	Refused string // what MongoDB said instead of storing it
	Size    int
	Memory  int64
	Took    time.Duration
}

// TestBombs lets each go off in a session that a visitor then asks for.
func TestBombs(t *testing.T) {
	t.Parallel()
	server := mongotest.Standalone(t)
	row := scenario.New(t, "bombs in payloads", "1 process a bomb")
	var worst, slowest harm
	var worstName, slowestName string
	for _, name := range slices.Sorted(maps.Keys(bombs)) {
		h, err := explosion(t, server, name, false)
		row.Requests.Add(1)
		row.Fault("bomb")
		switch bound := memoryBeside + memoryPerByte*int64(h.Size); {
		case err != nil:
			row.Violation("%s: the process died: %.300v", name, err)
		case h.Error != "" && h.Error != "decode":
			row.Violation("%s: the error is %q", name, h.Error)
		case h.Memory > bound:
			row.Violation("%s: %d bytes took %d MB, the bound is %d MB", name, h.Size, h.Memory>>20, bound>>20)
		}
		t.Logf("%-40s %9d bytes: %4d MB, %v, error %q, %s", name, h.Size, h.Memory>>20, h.Took.Round(time.Millisecond), h.Error, h.Refused)
		if h.Memory > worst.Memory {
			worst, worstName = h, name
		}
		if h.Took > slowest.Took {
			slowest, slowestName = h, name
		}
	}
	row.Note("most memory: %s, %d MB", worstName, worst.Memory>>20)
	row.Note("slowest: %s, %v", slowestName, slowest.Took.Round(time.Millisecond))
}

// TestBombsUnderASealer puts the bombs that SECURITY.md grants where there is a
// Sealer: they are refused unread.
func TestBombsUnderASealer(t *testing.T) {
	t.Parallel()
	server := mongotest.Standalone(t)
	row := scenario.New(t, "gob bombs under a Sealer", "1 process a bomb")
	for name := range grantedBombs {
		h, err := explosion(t, server, name, true)
		row.Requests.Add(1)
		row.Fault("bomb")
		if err != nil || h.Error != "decode" || h.Memory > memoryBeside+2*int64(h.Size) {
			row.Violation("%s: %+v, %v", name, h, err)
		}
		if inFull(1, 0) == 0 {
			continue // without a Sealer it takes a gigabyte
		}
		h, err = explosion(t, server, name, false)
		row.Note("without a Sealer, %s: %d bytes took %d MB, %.70v", name, h.Size, h.Memory>>20, err)
	}
}

// explosion runs a bomb in a process.
func explosion(t *testing.T, server *mongotest.Server, name string, isSealed bool) (h harm, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bombTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, os.Args[0]) //nolint:gosec // this binary
	cmd.Env = append(os.Environ(), bombVariable+"="+name, uriVariable+"="+server.DatabaseURI(server.Database(t).Name()))
	if isSealed {
		cmd.Env = append(cmd.Env, sealVariable+"=1")
	}
	var said bytes.Buffer
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &h)
	}
	if err != nil {
		err = fmt.Errorf("%w: %.300s", err, said.String())
	}
	return h, err
}

// explode is main of such a process: it prints the harm.
func explode(name string) {
	h, err := blast(name)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = json.NewEncoder(os.Stdout).Encode(h)
}

// blast stores a session, puts the bomb into its record, and asks for it. What
// MongoDB does not store is decoded all the same, as by a server that does.
func blast(name string) (h harm, err error) {
	ctx := context.Background()
	cfg := &mongostore.Config{Timeout: time.Minute, NoIndexes: true}
	if os.Getenv(sealVariable) != "" {
		cfg.Sealer = mongostore.AESGCM(sealingKey)
	}
	store, err := mongostore.Open(ctx, os.Getenv(uriVariable), cfg, signingKey)
	if err != nil {
		return h, err
	}
	defer func() { _ = store.Close() }()
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "https://example.com/", nil)
	w := httptest.NewRecorder()
	session, err := store.Get(r, "sid")
	if err == nil {
		err = session.Save(r, w)
	}
	if err != nil {
		return h, err
	}
	kind, payload, err := bson.MarshalValue(bombOf(name))
	if err != nil {
		return h, err
	}
	value := bson.RawValue{Type: kind, Value: payload}
	h.Size = len(payload)
	if err := plant(ctx, store.Collection(), session.ID, value); err != nil {
		h.Refused = fmt.Sprintf("%.60s", err)
	}
	next := httptest.NewRequestWithContext(ctx, http.MethodGet, "https://example.com/", nil)
	next.Header.Set("Cookie", strings.Split(w.Header().Get("Set-Cookie"), ";")[0])
	h.measure(func() {
		if h.Refused == "" {
			_, err = store.Get(next, "sid")
		} else if err = (mongostore.BSONCodec{}).Decode(value, sessions.NewSession(store, "sid")); err != nil {
			err = mongostore.ErrDecode
		}
	})
	if err != nil {
		h.Error = err.Error()
	}
	if errors.Is(err, mongostore.ErrDecode) {
		h.Error = "decode"
	}
	return h, nil
}

func plant(ctx context.Context, coll *mongo.Collection, id string, payload bson.RawValue) error {
	doc := bson.M{}
	if err := coll.FindOne(ctx, bson.D{{Key: "_id", Value: id}}).Decode(&doc); err != nil {
		return err
	}
	doc["session"] = payload
	_, err := coll.ReplaceOne(ctx, bson.D{{Key: "_id", Value: id}}, doc, options.Replace())
	return err
}

// measure notes how much memory a call takes while nothing is collected.
func (h *harm) measure(call func()) {
	debug.FreeOSMemory()
	debug.SetGCPercent(-1)
	total := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/memory/classes/heap/stacks:bytes"}}
	inUse := func() int64 {
		metrics.Read(total)
		return int64(total[0].Value.Uint64() + total[1].Value.Uint64()) //nolint:gosec // not that much
	}
	before, begin := inUse(), time.Now()
	call()
	h.Took, h.Memory = time.Since(begin), inUse()-before
}

// announced returns what gob makes of values, with another number of elements
// announced: of the values or, if inner, of the one value that they hold.
func announced(values map[any]any, inner bool, n uint64) []byte {
	messages := gobMessages(values)
	last := messages[len(messages)-1]
	if !inner {
		i := slices.Index(last, 0) + 1 // past the type's id
		return framed(messages, slices.Concat(last[:i], gobUint(n), last[i+1:]))
	}
	_, id := readGobUint(last)
	_, length := readGobUint(last[id:])
	rest := slices.Concat([]byte{0}, gobUint(n), last[id+length+2:])
	return framed(messages, slices.Concat(last[:id], gobUint(uint64(len(rest))), rest))
}

// gobMessages returns the messages of a gob stream: types, and values last.
func gobMessages(values map[any]any) (messages [][]byte) {
	var buffer bytes.Buffer
	if err := gob.NewEncoder(&buffer).Encode(values); err != nil {
		panic(err)
	}
	for stream := buffer.Bytes(); len(stream) > 0; {
		n, width := readGobUint(stream)
		end := width + int(n) //nolint:gosec // what gob wrote
		messages, stream = append(messages, stream[width:end]), stream[end:]
	}
	return messages
}

// framed returns a stream of messages with another last one.
func framed(messages [][]byte, last []byte) (stream []byte) {
	messages[len(messages)-1] = last
	for _, message := range messages {
		stream = append(append(stream, gobUint(uint64(len(message)))...), message...)
	}
	return stream
}

// readGobUint reads an unsigned integer as gob writes it, and how wide it is.
func readGobUint(b []byte) (n uint64, width int) {
	if b[0] < 0x80 {
		return uint64(b[0]), 1
	}
	width = 1 - int(int8(b[0])) //nolint:gosec // that is the encoding
	for _, c := range b[1:width] {
		n = n<<8 | uint64(c)
	}
	return n, width
}

func gobUint(n uint64) []byte {
	if n < 0x80 {
		return []byte{byte(n)}
	}
	whole := bytes.TrimLeft(binary.BigEndian.AppendUint64(nil, n), "\x00")
	return append([]byte{byte(-len(whole))}, whole...) //nolint:gosec // that is the encoding
}

// deepGob returns lists in lists. It is written from the inside out, backwards.
func deepGob(depth int) []byte {
	messages := gobMessages(map[any]any{"a": []any{nil}})
	last := messages[len(messages)-1]
	_, width := readGobUint(last)
	head := "\x0e[]interface {}"
	backwards := []byte{0} // nil is a name of no length
	prepend := func(part []byte) {
		for _, c := range slices.Backward(part) {
			backwards = append(backwards, c)
		}
	}
	for level := range depth {
		if level > 0 { // the list that it lies in says what it is
			prepend([]byte(head))
		}
		backwards = append(backwards, 1, 0) // one element, of no struct
		prepend(gobUint(uint64(len(backwards))))
		prepend(last[:width])
	}
	slices.Reverse(backwards)
	return framed(messages, backwards)
}

func uvarint(n uint64) string { return string(binary.AppendUvarint(nil, n)) }

func deepJSON(depth int) string {
	return `{"a":` + strings.Repeat("[", depth) + strings.Repeat("]", depth) + "}"
}

// deepBSON returns documents in documents.
func deepBSON(depth int) bson.RawValue {
	const level = 4 + 3 + 1 // length, the field's kind and name, the end
	var b []byte
	for i := range depth {
		b = binary.LittleEndian.AppendUint32(b, uint32(5+level*(depth-i))) //nolint:gosec // it is small
		b = append(b, byte(bson.TypeEmbeddedDocument), 'a', 0)
	}
	b = append(b, 5, 0, 0, 0, 0)
	return bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: append(b, make([]byte, depth)...)}
}

// deepScope returns a document with code whose scope has code with a scope.
func deepScope(depth int) bson.RawValue {
	const level = 4 + 3 + 4 + 5 + 1 // length, kind and name, the code's length, empty code, the end
	var b []byte
	for i := range depth {
		size := 5 + level*(depth-i)
		b = binary.LittleEndian.AppendUint32(b, uint32(size)) //nolint:gosec // it is small
		b = append(b, byte(bson.TypeCodeWithScope), 'a', 0)
		b = binary.LittleEndian.AppendUint32(b, uint32(size-8)) //nolint:gosec // it is small
		b = append(b, 1, 0, 0, 0, 0)
	}
	b = append(b, 5, 0, 0, 0, 0)
	return bson.RawValue{Type: bson.TypeEmbeddedDocument, Value: append(b, make([]byte, depth)...)}
}

func wideBSON(n int) bson.D {
	return bson.D{{Key: "a", Value: make(bson.A, n)}}
}
