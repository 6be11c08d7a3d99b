package netpeer

import (
	"flag"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if err := flag.Set("test.parallel", "16"); err != nil { // they do nothing but wait
		panic(err)
	}
	os.Exit(m.Run())
}
