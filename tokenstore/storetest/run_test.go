package storetest_test

import "testing"

func TestTheStoreOfTheExamplePasses(t *testing.T) { testMyStore(t) }
