package mongotest_test

import (
	"testing"

	"github.com/mongostore/mongostore/internal/mongotest"
)

func TestMain(m *testing.M) { mongotest.Main(m) }
