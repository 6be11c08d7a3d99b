package fds_test

import (
	"encoding/json"
	"fmt"
	"log"
	"strings"

	"github.com/fds-sdk/fds-go/fds"
)

func Example() {
	root, err := fds.ParseRoot("9F1C6B0A-4D2E-4C8B-9A37-0E5D1C2B3A4F") // as the provider spells it
	if err != nil {
		log.Fatal(err)
	}
	topic, err := root.Topic("devices", "status")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(root.SubscriptionID())
	fmt.Println(topic)

	device, err := fds.ParseDevice([]byte(`{"device_id": "FORKINC_S1_1223", "generic": {"device_type": "dispenser"}, "firmware": 1.10}`), fds.Dialect{})
	if err != nil {
		log.Fatal(err)
	}
	firmware, err := fds.As[json.Number](device.Item, "firmware") // a member that the standard does not name
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(device.ID(), device.Type(), firmware)
	// Output:
	// 9f1c6b0a-4d2e-4c8b-9a37-0e5d1c2b3a4f
	// fds/v2/9F1C6B0A-4D2E-4C8B-9A37-0E5D1C2B3A4F/devices/status
	// FORKINC_S1_1223 dispenser 1.10
}

func ExampleParseSubscriptionID() {
	_, err := fds.ParseSubscriptionID("9f1c6b0a-4d2e-1c8b-9a37-0e5d1c2b3a4f")
	fmt.Println(err)
	// Output: fds: parse subscription ID "9f1c6b0a-4d2e-1c8b-9a37-0e5d1c2b3a4f": malformed subscription ID: it is a UUID of version 1, FDS demands version 4
}

func ExampleRoot_Levels() {
	root, err := fds.ParseRoot("9f1c6b0a-4d2e-4c8b-9a37-0e5d1c2b3a4f")
	if err != nil {
		log.Fatal(err)
	}
	levels, err := root.Levels("fds/v2/9f1c6b0a-4d2e-4c8b-9a37-0e5d1c2b3a4f/devices/status")
	fmt.Println(levels, err)
	_, err = root.Levels("fds/v2/11111111-2222-4333-8444-555555555555/devices/status")
	fmt.Println(err != nil)
	// Output:
	// [devices status] <nil>
	// true
}

func ExampleSpace_PartOf() {
	floor, err := fds.ParseSpace([]byte(`{"space_id": "floor 3", "generic": {"space_type": "floor", "part_of":
		{"space_id": "tower", "generic": {"space_type": "building", "part_of":
			{"space_id": "campus", "generic": {"space_type": "site", "part_of":
				{"space_id": "00000000-0000-0000-0000-000000000000", "generic": {"space_type": "nothing"}}}}}}}}`))
	if err != nil {
		log.Fatal(err)
	}
	chain, err := floor.PartOf()
	if err != nil {
		log.Fatal(err)
	}
	for _, space := range chain {
		fmt.Println(space.Type(), space.ID())
	}
	// Output:
	// building tower
	// site campus
}

func ExampleNewSpaceTree() {
	var spaces []fds.Space // as pull.Collect gathers them
	for _, data := range []string{
		`{"space_id": "kitchen", "generic": {"space_type": "room"}}`,
		`{"space_id": "floor 3", "generic": {"space_type": "floor", "composed_of": ["kitchen", "lobby"], "part_of":
			{"space_id": "tower", "generic": {"space_type": "building", "part_of":
				{"space_id": "campus", "generic": {"space_type": "site"}}}}}}`,
		`{"space_id": "campus", "generic": {"space_type": "site", "composed_of": ["tower"]}}`,
	} {
		space, err := fds.ParseSpace([]byte(data))
		if err != nil {
			log.Fatal(err)
		}
		spaces = append(spaces, space)
	}
	tree := fds.NewSpaceTree(spaces)
	for node := range tree.All() {
		fmt.Printf("%s%s %s\n", strings.Repeat("  ", node.Depth()), node.Type(), node.ID())
	}
	if kitchen, ok := tree.Space("kitchen"); ok {
		fmt.Println("the kitchen is in", kitchen.Building().ID())
	}
	for _, fault := range tree.Faults() {
		fmt.Println(fault)
	}
	// Output:
	// site campus
	//   building tower
	//     floor floor 3
	//       room kitchen
	// the kitchen is in tower
	// fds: space "floor 3": its composed_of names "lobby", which is not in the list
	// fds: space "campus": its composed_of names "tower" (building), which is not in the list
}

func ExampleRoot_Matches() {
	root, err := fds.ParseRoot("9f1c6b0a-4d2e-4c8b-9a37-0e5d1c2b3a4f")
	if err != nil {
		fmt.Println(err)
		return
	}
	filter, err := root.Filter("devices/+/status")
	fmt.Println(filter, err)
	fmt.Println(root.Matches(filter, root.String()+"devices/S1/status"))
	fmt.Println(root.Matches(filter, "$SYS/broker/uptime"))
	// Output:
	// fds/v2/9f1c6b0a-4d2e-4c8b-9a37-0e5d1c2b3a4f/devices/+/status <nil>
	// true
	// false
}
