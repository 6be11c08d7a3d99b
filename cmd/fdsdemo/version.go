package main

import (
	"cmp"
	"fmt"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/spf13/cobra"
)

// versionReport is what version --json prints.
type versionReport struct {
	Version  string     `json:"version"` // of the module; "devel" where it was not built as one
	Revision string     `json:"revision,omitempty"`
	Time     *time.Time `json:"time,omitempty"` // of the revision
	Modified bool       `json:"modified"`       // the working tree had changes besides
	Go       string     `json:"go"`
	Platform string     `json:"platform"`
}

func (p *program) versionCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "version",
		Short: "Show which build this is",
		Args:  noArguments,
		RunE: func(*cobra.Command, []string) error {
			info, _ := debug.ReadBuildInfo()
			report := buildOf(info)
			if !asJSON {
				return p.write([]byte(report.String() + "\n"))
			}
			line, err := jsonLine(report)
			if err != nil {
				return err
			}
			return p.write(line)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "print one JSON object")
	return c
}

// buildOf reads what the Go command has noted; nil: nothing.
func buildOf(info *debug.BuildInfo) versionReport {
	r := versionReport{Version: "devel", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info == nil {
		return r
	}
	if v := info.Main.Version; v != "" && v != "(devel)" {
		r.Version = v
	}
	r.Go = cmp.Or(info.GoVersion, r.Go)
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			r.Revision = s.Value
		case "vcs.time":
			if at, err := time.Parse(time.RFC3339, s.Value); err == nil {
				r.Time = &at
			}
		case "vcs.modified":
			r.Modified = s.Value == "true"
		}
	}
	return r
}

func (r versionReport) String() string {
	text := "fdsdemo " + r.Version
	if r.Revision != "" {
		text += fmt.Sprintf(", revision %.12s", r.Revision)
		if r.Modified {
			text += " with changes"
		}
		if r.Time != nil {
			text += " of " + r.Time.UTC().Format(time.DateOnly)
		}
	}
	return text + ", " + r.Go + ", " + r.Platform
}
