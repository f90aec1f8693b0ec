#!/bin/sh
# A notification command for Icinga 2 or Nagios: posts its environment to the preset "icinga" of the bridge. Needs curl and jq.
#   BRIDGE_URL=https://bridge.example:8080/webhooks/icinga   BRIDGE_TOKEN_FILE=/etc/icinga2/bridge.token
# Icinga 2: a NotificationCommand whose `env` sets the names below ("NOTIFICATIONTYPE" = "$notification.type$",
#   "HOSTNAME" = "$host.name$", "SERVICEDESC" = "$service.name$", "SERVICESTATE" = "$service.state$", …).
# Nagios: enable_environment_macros=1, and NAGIOS_ before each name.
set -eu

jq --null-input --compact-output \
  '[env | to_entries[] | .key |= ltrimstr("NAGIOS_") | select(.key | test(
    "^(NOTIFICATION(TYPE|AUTHOR|COMMENT)|HOST(NAME|ALIAS|ADDRESS|STATE|OUTPUT)|SERVICE(DESC|STATE|OUTPUT)|LONG(HOSTOUTPUT|SERVICEOUTPUT|DATETIME))$"
  ))] | from_entries' |
  curl --silent --show-error --fail --max-time 20 --retry 5 --retry-connrefused \
    --header "Authorization: Bearer $(cat "$BRIDGE_TOKEN_FILE")" --header 'Content-Type: application/json' \
    --data-binary @- "$BRIDGE_URL"
