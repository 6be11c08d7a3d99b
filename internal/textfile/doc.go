// Package textfile reads small files that people wrote, exported or copied together,
// as they meant them: text with a byte order mark in front, PEM that an editor has
// indented or that was joined without a line break. What cannot be read is an error
// that says where, never skipped. A pipe or a device in a file's place holds no one up.
package textfile
