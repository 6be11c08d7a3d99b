// Package world makes up the sites of resource owners: buildings with rooms and
// restrooms, and in them dispensers that empty, machines that clean and sensors
// that count people. It is what the provider in a box has to tell.
//
// Life goes on when Step or Run says so. It is made of a seed: two worlds with
// the same seed, the same owners, the same steps and the same clock hold the
// same bytes. The amounts come from the length of the step, the dates from the
// clock: a step of one hour is spread over the clock time since the device was
// last moved. So no date lies in the future, and a demo sees an hour's use in
// half a second.
//
// # This box's dialect
//
// FDS V2 leaves many names open and some provider must choose. The following
// are this box's own choice and not FDS: do not build on them.
//
//   - Devices: device_id at the root; generic holds device_type, name,
//     manufacturer, model, serial_number, production_date, registration_date,
//     start_connectivity_date and space_id. The types beside "dispenser" are
//     "cleaning_machine", "people_counter" and "smart_handle".
//   - device_type_specific of specifications: category and capacity (in
//     portions) of a dispenser; operating_mode and tank_capacity (in litres) of
//     a machine; sensor_technology and cycle_minutes of a counter; none for a
//     smart handle.
//   - Statuses: generic holds device_type and date_time. Specific: fill_level
//     and battery_level in percent; state (idle, cleaning, charging, fault) and
//     operating_minutes; total and cycle (start, sequence, count);
//     location_space_id, mop_device_id, frame_side and pattern_id.
//   - Statistics: generic holds device_type, from and to; specific the sums and
//     the cycles (start, end, sequence and a count or minutes) that ended from
//     from on and before to. Without a range it is the last 24 hours.
//   - Diagnostics: generic holds device_type and date_time; specific
//     expected_empty_date or next_service_date.
//   - Spaces: space_id at the root; generic holds space_type, name, part_of and
//     composed_of; specific address, geolocation or storey.
//   - Events: message_id (a UUID) at the root; generic holds date_time, code,
//     severity (info, warning, critical), message and either device_id or
//     space_id. The codes are those of the event specifications, whose ID is
//     code at the root.
//   - Tags: tag_id and entities at the root. The provider sets the tag_id when
//     the consumer sets none.
//   - Every date-time is RFC 3339 in UTC with milliseconds.
//
// # Push
//
// A status is published at devices/<device_id>/status and an event about a
// device at devices/<device_id>/events, whole, with QoS 1 and not retained
// unless Config.RetainStatuses says so for statuses. FDS V2 has no push messages
// about spaces: events about spaces are only in the history, unless they are given by
// hand. Those are published at spaces/<space_id>/events, and what is about neither at
// events.
package world
