# What runs on the node, in any POSIX shell, with coreutils, busybox or the like. Comments and
# indentation are taken away before it is sent. N is the mark of this copy's answers, @N on the wire.
#
# 3 is the way to ssmx, 4 the way from it. Commands come a line each, and what they say on their own
# goes nowhere.
exec 3>&1 4<&0 </dev/null >/dev/null 2>/dev/null
n='
'
U=$(umask)
umask 077
# Whoever writes more than may be written is to say so.
trap '' 25
cd "${HOME:-/}" || cd /
p=
has() { command -v "$1"; }

# r ID WORDS: the answer. er ID MESSAGE: the failure that a program's message tells.
r() { printf '@%s %s\n' "$N" "$*" >&3; }
er() {
    e=${2%%"$n"*}
    r "$1 err ${e##*: }"
}

# Whether dd fills its blocks, whatever comes at a time.
D=
if [ "$(printf abcdef | { dd bs=3 count=1 iflag=fullblock >/dev/null; cat; })" = def ]; then D=1; fi

# exact LENGTH: so many bytes of the input and not one more, whatever has come already.
if [ "$(printf abcdef | { head -c 3 >/dev/null; cat; })" = def ]; then
    X=head
    exact() { head -c "$1" <&4; }
elif [ -n "$D" ]; then
    X=dd
    exact() { dd bs="$1" count=1 iflag=fullblock <&4; }
else
    X=bytes
    exact() { dd bs=1 count="$1" <&4; }
fi

# hd LENGTH: so many bytes of a file.
if [ "$(printf abcdef | head -c 3)" = abc ]; then
    hd() { head -c "$1"; }
else
    hd() { dd bs=1 count="$1"; }
fi

# sum: the checksum of its input, as the first word.
if has sha256sum; then
    S=sha256
    sum() { sha256sum; }
elif has shasum; then
    S=sha256
    sum() { shasum -a 256; }
elif has openssl; then
    S=sha256
    sum() { openssl dgst -sha256 -r; }
elif has cksum; then
    S=cksum
    sum() { cksum; }
else
    S=none
fi

B=base64
if has base64 && printf QQ== | base64 -d; then
    en() { base64; }
    de() { base64 -d; }
elif has openssl; then
    en() { openssl base64 -e; }
    de() { openssl base64 -d; }
else
    B=none
fi

# sta [-L] PATH: mode, size, time.
if stat -c %s /; then
    sta() { stat ${2:+-L} -c '%f %s %Y' "$1" 2>&1; }
elif stat -f %z /; then
    sta() { stat ${2:+-L} -f '%Xp %z %m' "$1" 2>&1; }
else
    sta() {
        y=$(ls -ldn${2:+L} "$1" 2>&1) || { printf %s "$y"; return 1; }
        set -- $y
        printf '%s %s -' "$1" "$5"
    }
fi

# hex WORD
hex() {
    case $1 in
    *[!A-Za-z0-9._+=,@%:~-]*) printf x; printf %s "$1" | od -An -v -tx1 | tr -d ' \n' ;;
    *) printf n%s "$1" ;;
    esac
}

# st ID PATH: what is there, links followed.
st() {
    y=$(sta "$2" L) && r "$1 ok $y" || er "$1" "$y"
}

# wb ID PATH SIZE: begins to write a file. With a size it may go on with a part that is there: its
# length and checksum, and the checksum of a whole file that has the size already.
wb() {
    f=$2 p= q= o= w=0 z=-
    if [ -h "$f" ] && y=$(readlink -f "$f") && [ -n "$y" ]; then f=$y; fi
    y=-
    if [ -d "$f" ]; then er "$1" 'Is a directory'; return; fi
    if [ -e "$f" ] && [ ! -f "$f" ]; then
        q=$f
    else
        b=${f##*/}
        q=${f%"$b"}$(printf %.240s "$b").ssmx-part
        [ ! -h "$q" ] || rm -f "$q"
        if [ -f "$f" ]; then
            if [ ! -w "$f" ]; then er "$1" 'Permission denied'; return; fi
            o=$(sta "$f")
        fi
        if [ -n "$3" ] && [ -s "$q" ] && [ -O "$q" ]; then
            w=$(wc -c <"$q")
            y=$(sum <"$q")
        fi
        if [ -n "$3" ] && [ -f "$f" ] && [ "$(wc -c <"$f")" -eq "$3" ]; then z=$(sum <"$f"); fi
    fi
    if e=$(new 2>&1); then
        p=$q
        r "$1 ok" $w "${y%% *}" "${z%% *}"
    else
        # Some shells say so of whatever is wrong with a path.
        case $e in *nonexist*) e=$(sta "$q") ;; esac
        er "$1" "$e"
    fi
}

# new: a file of our own, or what is there of it. (In a directory for all, others may have put
# something there.)
new() {
    if [ "$q" = "$f" ] || [ "$w" != 0 ]; then : >>"$q"; else rm -f "$q"; set -C; : >"$q"; fi
}

# wt ID: what is there of it is of no use. wx ID: nothing more is to come.
wt() {
    w=0
    if [ -n "$p" ] && e=$(new 2>&1); then r "$1 ok"; else er "$1" "$e"; fi
}
wx() {
    drop
    r "$1 ok"
}

# app DECODER: appends its input. Not all programs that decode tell when there is no room.
app() {
    case $1 in
    de) de | cat >>"$p" ;;
    *) cat >>"$p" ;;
    esac
}

# wa ID LENGTH DECODER: appends as much, or throws it away. One process alone does so with whole
# units: it says how many it has taken, and what is left of them after a failure is thrown away.
# Without its word nobody knows what is a command and what is not.
wa() {
    s=0
    if [ -z "$p" ]; then
        exact "$2"
        r "$1 skip"
        return
    fi
    if [ "$D$3" = 1cat ] && [ $(($2 % 65536)) = 0 ] && [ -w "$p" ]; then
        e=$(dd bs=65536 count=$(($2 / 65536)) iflag=fullblock <&4 2>&1 >>"$p") || s=$?
        y=${e%+* records in*}
        y=${y##*"$n"}
        case $y in '' | *[!0-9]*) er "$1" "$e"; bye ;; esac
        [ $s = 0 ] || exact $(($2 - y * 65536))
    else
        e=$({ exact "$2" 2>/dev/null | {
            app $3 && exit
            s=$?
            cat >/dev/null
            exit $s
        }; } 2>&1) || s=$?
    fi
    if [ $s = 0 ]; then r "$1 ok"; return; fi
    [ $s -lt 128 ] || e='File too large'
    drop
    er "$1" "$e"
}

drop() {
    [ -z "$p" ] || [ "$p" = "$f" ] || rm -f "$p"
    p=
}

# wf ID CHECKSUM MODE PRESERVE TIME: the file is whole, takes its name, and has mode and time.
wf() {
    if [ -z "$p" ]; then r "$1 skip"; return; fi
    if [ "$p" = "$f" ]; then p=; r "$1 ok device"; return; fi
    y=$(sum <"$p")
    if [ "${y%% *}" != "$2" ]; then drop; r "$1 sum"; return; fi
    if [ "$4" = 1 ]; then
        chmod "$3" "$p"
        TZ=UTC0 touch -t "$5" "$p"
    else
        case ${o%% *} in
        '' | *[!0-9a-f]*) chmod "$(printf %o $((0$3 & ~0$U)))" "$p" ;;
        *) chmod "$(printf %o $((0x${o%% *} & 01777)))" "$p" ;;
        esac
    fi
    if e=$(mv -f "$p" "$f" 2>&1); then r "$1 ok"; else drop; er "$1" "$e"; fi
    p=
}

# md ID PATH: a directory. at ID PATH MODE TIME: what it is to be like.
md() {
    if [ -d "$2" ] || e=$(umask "$U"; mkdir "$2" 2>&1); then r "$1 ok"; else er "$1" "$e"; fi
}
at() {
    if e=$({ chmod "$3" "$2" && TZ=UTC0 touch -t "$4" "$2"; } 2>&1); then r "$1 ok"; else er "$1" "$e"; fi
}

# li ID TEXT PATH: a symbolic link.
li() {
    [ ! -h "$3" ] || rm -f "$3"
    if [ -e "$3" ]; then er "$1" 'File exists'; return; fi
    if e=$(ln -s "$2" "$3" 2>&1); then r "$1 ok"; else er "$1" "$e"; fi
}

# gd ID PATH SKIP COUNT ENCODING [LENGTH]: blocks of 64 KiB, in all no more than that length: a file
# may have grown. Only a file that cannot be read needs a process more, to tell why.
gd() {
    if ! { [ -f "$2" ] && [ -r "$2" ]; } && ! e=$({ : <"$2"; } 2>&1); then er "$1" "$e"; return; fi
    r "$1 data"
    case $5 in
    raw) bl "$2" "$3" "$4" "$6" >&3 ;;
    base64) bl "$2" "$3" "$4" "$6" | en >&3 ;;
    *) bl "$2" "$3" "$4" "$6" | tr "\\357\\$5" "\\$5\\357" >&3 ;;
    esac
    printf '\n@%s %s end\n' "$N" "$1" >&3
}

bl() {
    if [ -n "$4" ]; then
        dd if="$1" bs=65536 skip="$2" count="$3" | hd "$4"
    else
        dd if="$1" bs=65536 skip="$2" count="$3"
    fi
}

# gs ID PATH LENGTH: the checksum of so many bytes, or of all.
gs() {
    if ! e=$({ : <"$2"; } 2>&1); then er "$1" "$e"; return; fi
    if [ -n "$3" ]; then y=$(hd "$3" <"$2" | sum); else y=$(sum <"$2"); fi
    r "$1 ok ${y%% *}"
}

# gl ID PATH: what is in a directory.
gl() {
    if ! e=$(ls "$2" 2>&1 >/dev/null); then er "$1" "$e"; return; fi
    if ! e=$(cd "$2" 2>&1); then er "$1" "$e"; return; fi
    r "$1 data"
    for x in "$2"/* "$2"/.[!.]* "$2"/..?*; do
        if [ -h "$x" ]; then
            y=$(readlink "$x"; printf .)
            y=${y%.}
            y=$(hex "${y%"$n"}")
        elif [ -e "$x" ]; then
            y=
        else
            continue
        fi
        printf '%s %s %s\n' "$(sta "$x")" "$(hex "${x##*/}")" "$y" >&3
    done
    printf '\n@%s %s end\n' "$N" "$1" >&3
}

# pr ID LENGTH FORMAT: what becomes of bytes on their way here, and of those on their way back.
pr() {
    y=$(exact "$2" | sum)
    r "$1 data"
    printf "$3" >&3
    printf ' %s %s %s %s %s\n' "${y%% *}" $X $S $B "$U" >&3
    printf '\n@%s %s end\n' "$N" "$1" >&3
}

# Some shells read ahead where the input is a terminal, none where it is a pipe. (busybox's cat
# would wait for megabytes.)
bye() { kill -TERM 0; }
dd bs=65536 <&4 | {
    exec 4<&0 </dev/null
    while IFS= read -r l <&4; do eval "$l"; done
    bye
}
