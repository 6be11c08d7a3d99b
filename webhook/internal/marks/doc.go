// Package marks remembers what was handled, also beyond the end of the process: a mark stands for
// something that came, such as a webhook's ID, and is on disk once [Log.Add] has returned.
//
// # Files
//
// The folder has segments, each a file to which records are appended, and a lock file, by which one
// Log at a time has the folder. Whole segments are removed once all in them is older than
// Settings.For, or beyond Settings.Most. All integers are big-endian.
//
//	0000000000000001.marks   a segment; its number in hexadecimal digits, newer ones are higher
//	marks.lock               locked by the Log that has the folder
//
//	header of a segment      "fdsmarks", the format's version (4 bytes), zeros (12), checksum (4)
//	record                   mark (16 bytes), seconds since 1970 in UTC (8), checksum (4)
//
// A checksum is the CRC-32C of the bytes before it. A header is as long as a record, so that each
// record is known by its place: one that is damaged is passed over, and those behind it are read. A
// file's end that a crash left unfinished is overwritten by what comes next.
//
// # Clocks
//
// A mark's age is counted from the time that Add was told, by the system's clock. Where that was set
// back, or was wrong, marks may come from the future: a day at most is believed, and what is beyond
// counts as of now, again at each Open. Such marks live too long rather than too short, until Most
// ends them. While a process lives its own marks' ages do not depend on how the clock is set.
//
// # Memory
//
// All marks are in memory, a map for each segment, and a sieve before it: most marks that are looked
// for are not there, and looking into each map takes long. With the default of Most that is 26 MB at
// most, which is 24 bytes for each mark (go 1.26, amd64); and 28 bytes more for each while it cannot
// be written. There are Most marks at most, and a sixteenth.
package marks
