package world

import (
	"encoding/json"
	"time"
)

// happening is an event about a device or a space.
type happening struct {
	code     string
	deviceID string
	spaceID  string
	raw      json.RawMessage
}

func (h happening) about() string { return h.deviceID + h.spaceID } // one of them is empty

type message struct {
	MessageID string         `json:"message_id"`
	Generic   messageGeneric `json:"generic"`
}

type messageGeneric struct {
	DateTime string `json:"date_time"`
	Code     string `json:"code"`
	Severity string `json:"severity"`
	Message  string `json:"message"`
	DeviceID any    `json:"device_id,omitempty"`
	SpaceID  string `json:"space_id,omitempty"`
}

func (h happening) render(messageID string, at time.Time, deviceID any) json.RawMessage {
	kind := eventKinds[h.code]
	return mustJSON(message{messageID, messageGeneric{dateTime(at), h.code, kind.severity, kind.message, deviceID, h.spaceID}})
}

// The codes of this box.
const (
	codeLow          = "dispenser_low"
	codeEmpty        = "dispenser_empty"
	codeRefilled     = "dispenser_refilled"
	codeStarted      = "cleaning_started"
	codeFinished     = "cleaning_finished"
	codeFault        = "machine_fault"
	codeFaultCleared = "machine_fault_cleared"
	codeBusy         = "traffic_high"
	codeCleaningDue  = "space_cleaning_due"
	codeWiped        = "room_wiped"
)

type eventKind struct {
	severity, message string
	texts             []eventText
}

type eventText struct {
	Language    string `json:"language"`
	Description string `json:"description"`
	RootCause   string `json:"root_cause"`
	Solution    string `json:"solution"`
}

type eventSpecification struct {
	Code    string                    `json:"code"`
	Generic eventSpecificationGeneric `json:"generic"`
}

type eventSpecificationGeneric struct {
	Severity string      `json:"severity"`
	Texts    []eventText `json:"texts"`
}

// codes lists the event kinds in the order they are told.
var codes = []string{codeLow, codeEmpty, codeRefilled, codeStarted, codeFinished, codeFault, codeFaultCleared, codeBusy, codeCleaningDue, codeWiped}

var eventKinds = map[string]eventKind{
	codeLow: {"warning", "The dispenser is running low.", []eventText{
		{"en", "The dispenser is running low.", "It has been used.", "Refill it on the next round."},
		{"de", "Der Spender ist fast leer.", "Er wurde benutzt.", "Beim nächsten Rundgang auffüllen."},
		{"fr", "Le distributeur est presque vide.", "Il a été utilisé.", "Le remplir au prochain passage."},
	}},
	codeEmpty: {"critical", "The dispenser is empty.", []eventText{
		{"en", "The dispenser is empty.", "It was not refilled in time.", "Refill it now."},
		{"de", "Der Spender ist leer.", "Er wurde nicht rechtzeitig aufgefüllt.", "Sofort auffüllen."},
		{"fr", "Le distributeur est vide.", "Il n’a pas été rempli à temps.", "Le remplir maintenant."},
	}},
	codeRefilled: {"info", "The dispenser was refilled.", []eventText{
		{"en", "The dispenser was refilled.", "Someone refilled it.", "Nothing to do."},
		{"de", "Der Spender wurde aufgefüllt.", "Jemand hat ihn aufgefüllt.", "Nichts zu tun."},
	}},
	codeStarted: {"info", "The machine started to clean.", []eventText{
		{"en", "The machine started to clean.", "Someone started it.", "Nothing to do."},
		{"de", "Die Maschine reinigt.", "Jemand hat sie gestartet.", "Nichts zu tun."},
	}},
	codeFinished: {"info", "The machine finished its shift.", []eventText{
		{"en", "The machine finished its shift.", "The work is done or the battery is low.", "Nothing to do."},
		{"de", "Die Maschine hat ihre Schicht beendet.", "Die Arbeit ist getan oder der Akku schwach.", "Nichts zu tun."},
	}},
	codeFault: {"critical", "The machine has stopped with a fault.", []eventText{
		{"en", "The machine has stopped with a fault.", "A brush is blocked.", "Clear the brush and start the machine again."},
		{"de", "Die Maschine ist mit einer Störung stehen geblieben.", "Eine Bürste ist blockiert.", "Bürste befreien und Maschine neu starten."},
		{"fr", "La machine s’est arrêtée sur une panne.", "Une brosse est bloquée.", "Dégager la brosse et redémarrer la machine."},
	}},
	codeFaultCleared: {"info", "The machine's fault is cleared.", []eventText{
		{"en", "The machine's fault is cleared.", "Someone cleared it.", "Nothing to do."},
		{"de", "Die Störung der Maschine ist behoben.", "Jemand hat sie behoben.", "Nichts zu tun."},
	}},
	codeBusy: {"info", "Many people in a short time.", []eventText{
		{"en", "Many people in a short time.", "The space is busy.", "Consider another round."},
		{"de", "Viele Menschen in kurzer Zeit.", "Der Raum ist gut besucht.", "Einen weiteren Rundgang erwägen."},
	}},
	codeCleaningDue: {"warning", "The space is due for cleaning.", []eventText{
		{"en", "The space is due for cleaning.", "It was used often since the last time.", "Clean it."},
		{"de", "Der Raum sollte gereinigt werden.", "Er wurde seit dem letzten Mal oft benutzt.", "Reinigen."},
		{"fr", "L’espace doit être nettoyé.", "Il a beaucoup servi depuis la dernière fois.", "Le nettoyer."},
	}},
	codeWiped: {"info", "A room was wiped.", []eventText{
		{"en", "A room was wiped.", "Both sides of the mop were used.", "Nothing to do."},
		{"de", "Ein Raum wurde gewischt.", "Beide Seiten des Mopps wurden benutzt.", "Nichts zu tun."},
	}},
}

func eventSpecifications() []entry {
	list := make([]entry, 0, len(codes))
	for _, code := range codes {
		kind := eventKinds[code]
		list = append(list, entry{id: code, raw: mustJSON(eventSpecification{code, eventSpecificationGeneric{kind.severity, kind.texts}})})
	}
	return list
}
