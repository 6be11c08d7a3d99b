package main

import (
	"time"

	"github.com/fds-sdk/fds-go/fds"
	"github.com/fds-sdk/fds-go/fdsclient"
	"github.com/fds-sdk/fds-go/pull"
)

// dialectFile is the form of provider.dialect: the names and forms that FDS
// leaves open.
type dialectFile struct {
	DeviceID              string     `yaml:"device_id"`
	MessageID             string     `yaml:"message_id"`
	TagID                 string     `yaml:"tag_id"`
	FromParameter         string     `yaml:"from_parameter"`
	ToParameter           string     `yaml:"to_parameter"`
	TimeMember            string     `yaml:"time_member"`
	TimeLayout            string     `yaml:"time_layout"`
	SubscriptionMember    string     `yaml:"subscription_member"`
	SubscriptionParameter string     `yaml:"subscription_parameter"`
	KindMember            string     `yaml:"kind_member"`
	EventKind             string     `yaml:"event_kind"`
	StatusKind            string     `yaml:"status_kind"`
	SequenceMember        string     `yaml:"sequence_member"`
	SeverityMember        string     `yaml:"severity_member"`
	CodeMember            string     `yaml:"code_member"`
	EventTopic            string     `yaml:"event_topic"`
	StatusTopic           string     `yaml:"status_topic"`
	LanguageParameter     string     `yaml:"language_parameter"`
	TagParameter          string     `yaml:"tag_parameter"`
	IDsSeparator          string     `yaml:"ids_separator"`
	ListMember            string     `yaml:"list_member"`
	Paging                pagingFile `yaml:"paging"`
}

// pagingFile is the form of provider.dialect.paging.
type pagingFile struct {
	PageParameter   string `yaml:"page_parameter"`
	FirstPage       int    `yaml:"first_page"`
	OffsetParameter string `yaml:"offset_parameter"`
	CursorParameter string `yaml:"cursor_parameter"`
	CursorMember    string `yaml:"cursor_member"`
	NextMember      string `yaml:"next_member"`
	MoreMember      string `yaml:"more_member"`
	SizeParameter   string `yaml:"size_parameter"`
	Size            int    `yaml:"size"`
}

func (f dialectFile) dialect() fds.Dialect {
	return fds.Dialect{
		DeviceID:              f.DeviceID,
		MessageID:             f.MessageID,
		TagID:                 f.TagID,
		FromParameter:         f.FromParameter,
		ToParameter:           f.ToParameter,
		TimeMember:            f.TimeMember,
		TimeLayout:            f.TimeLayout,
		SubscriptionMember:    f.SubscriptionMember,
		SubscriptionParameter: f.SubscriptionParameter,
		KindMember:            f.KindMember,
		EventKind:             f.EventKind,
		StatusKind:            f.StatusKind,
		SequenceMember:        f.SequenceMember,
		SeverityMember:        f.SeverityMember,
		CodeMember:            f.CodeMember,
		EventTopic:            f.EventTopic,
		StatusTopic:           f.StatusTopic,
		LanguageParameter:     f.LanguageParameter,
		TagParameter:          f.TagParameter,
		IDsSeparator:          f.IDsSeparator,
		ListMember:            f.ListMember,
		Paging:                fds.Paging(f.Paging),
	}
}

// pollFile is the form of poll, for a provider without a broker.
type pollFile struct {
	Interval duration `yaml:"interval"`
	Margin   duration `yaml:"margin"`
}

func (f pollFile) poll() fdsclient.Poll {
	return fdsclient.Poll{Interval: time.Duration(f.Interval), Margin: time.Duration(f.Margin)}
}

// pullFile is the form of pull: the bounds of what is read from the Web API.
type pullFile struct {
	MaxBodyBytes int64    `yaml:"max_body_bytes"`
	MaxItemBytes int64    `yaml:"max_item_bytes"`
	MaxListBytes int64    `yaml:"max_list_bytes"`
	MaxPages     int      `yaml:"max_pages"`
	Timeout      duration `yaml:"timeout"`
	ListTimeout  duration `yaml:"list_timeout"`
}

func (f pullFile) settings() pull.Settings {
	return pull.Settings{
		MaxBodyBytes: f.MaxBodyBytes, MaxItemBytes: f.MaxItemBytes, MaxListBytes: f.MaxListBytes, MaxPages: f.MaxPages,
		Timeout: time.Duration(f.Timeout), ListTimeout: time.Duration(f.ListTimeout),
		RetryFor: -1, // the commands repeat what failed themselves, and tell the user
	}
}
