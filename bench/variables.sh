# SPDX-License-Identifier: GPL-2.0-or-later
# Run in a guest by the probe's word `script`: prints nanoseconds of the guest's clock before reading a variable
# 200 times through efivarfs, before writing it 20 times, and after; a line for each of three rounds.
variable=$efivars/PvefiSpeed-cfc8fc79-be2e-4ddc-97f0-9f98bfe298a0

now() { # without another process: reading takes the shell less than a millisecond
    while read -r first second time rest; do
        [ "$first $second" = 'now at' ] && break
    done </proc/timer_list
}

value() { # NUMBER: attributes (non-volatile, boot services, runtime) and 100 bytes
    printf '\7\0\0\0%0100d' "$1"
}

value 0 1<>"$variable" || exit 1
files=
while [ ${#files} -lt $((200 * (${#variable} + 1))) ]; do
    files="$files $variable"
done
cat $files >/dev/null || exit 1
for round in 1 2 3; do
    now
    began=$time
    cat $files >/dev/null || exit 1
    now
    read=$time
    number=0
    while [ $number -lt 20 ]; do
        number=$((number + 1))
        value "$round$number" 1<>"$variable" || exit 1
    done
    now
    echo "$began $read $time"
done
