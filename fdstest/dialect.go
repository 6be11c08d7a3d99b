package fdstest

import "github.com/fds-sdk/fds-go/fds"

// Dialect returns the names and forms that the provider has where FDS leaves them open,
// as its Options say: for a client's configuration.
func (p *Provider) Dialect() fds.Dialect { return p.dialect }

func (o Options) dialect() fds.Dialect {
	d := fds.Dialect{
		FromParameter:     "from",
		ToParameter:       "to",
		TimeMember:        "generic.date_time",
		LanguageParameter: o.WebAPI.LanguageParameter,
		TagParameter:      o.WebAPI.TagParameter,
		IDsSeparator:      o.WebAPI.IDsSeparator,
		ListMember:        o.WebAPI.ListMember,
		EventTopic:        "devices/{generic.device_id}/events",
		StatusTopic:       "devices/{device_id}/status",
		SeverityMember:    "generic.severity",
		CodeMember:        "generic.code",

		SubscriptionMember:    o.WebAPI.subscriptionMember(),
		SubscriptionParameter: o.WebAPI.SubscriptionParameter,
		Paging: fds.Paging{
			PageParameter:   o.WebAPI.Paging.PageParameter,
			FirstPage:       o.WebAPI.Paging.FirstPage,
			OffsetParameter: o.WebAPI.Paging.OffsetParameter,
			CursorParameter: o.WebAPI.Paging.CursorParameter,
			CursorMember:    o.WebAPI.Paging.CursorMember,
			MoreMember:      o.WebAPI.Paging.MoreMember,
		},
	}
	if p := &d.Paging; p.PageParameter == "" && p.OffsetParameter == "" && p.CursorParameter == "" { // a client goes one way
		p.NextMember, p.MoreMember = o.WebAPI.Paging.NextMember, ""
	}
	if size := o.WebAPI.Paging.Size; size > 0 && o.WebAPI.Paging.SizeParameter != "" {
		d.Paging.SizeParameter, d.Paging.Size = o.WebAPI.Paging.SizeParameter, size
	}
	if o.TimeRange != nil {
		d.FromParameter, d.ToParameter, d.TimeLayout = o.TimeRange.From, o.TimeRange.To, o.TimeRange.Layout
	}
	return d
}
