stty raw -echo isig noflsh intr '^C' quit '^\' susp undef 2>/dev/null || stty raw -echo isig || exit
trap '' INT QUIT TERM TSTP
exec 3>&1 4<&0 </dev/null
if command -v base64 >/dev/null
then xm=b xb=2850 xw=
base64 -w 1000 </dev/null >/dev/null 2>&1 && xb=24000 xw='-w 1000'
xe() { while xc=$(dd bs=$xb count=1 2>/dev/null|base64 $xw) && [ "$xc" ]
do for xl in $xc; do printf '\002%s%s\n' $1 $xl; done; done >&3; }
xd() { printf %s "$1"|base64 -d; }
else xm=o
xe() { while xc=$(dd bs=4096 count=1 2>/dev/null|od -An -v -tx1) && [ "$xc" ]
do set -- $1 $xc; xt=$1 xl=; shift
for xc
do case $xl in ????????????????????????????????????????????????????????????????) printf '\002%s%s\n' $xt $xl; xl=; esac
xl=$xl$xc
done
printf '\002%s%s\n' $xt $xl
set -- $xt
done >&3; }
xd() { printf "$1"; }
fi
xi() { xr=
while xc=$(dd bs=16384 count=1 2>/dev/null) && [ "$xc" ]
do IFS=.; set -- $xr$xc; unset IFS
case $xc in *.) xr=;; *) eval "xr=\${$#}"; esac
while [ $# -gt 0 ]
do [ $# = 1 ] && [ "$xr" ] && break
case $1 in
'') ;;
T) kill -TERM 0;;
E) exec >/dev/null;;
*) { xd "$1" && printf '\002A%d\n' ${#1} >&3; } 2>/dev/null || { printf '\002C\n' >&3; exec >/dev/null; }
esac
shift
done
done; }
printf '\002S1%s\n' $xm >&3
cat <&4 | cat | xi | {
{ { ( cd 2>/dev/null; trap - INT QUIT TERM TSTP; exec 2>&6 3>&- 4<&- 5>&- 6>&- @INPUT@; exec "$@" )
printf '\002X%d\n' $? >&3; } 6>&1 >&5 5>&- 2>/dev/null | xe E; } 5>&1 | xe O
printf '\002Z\n' >&3
kill -HUP $$
}
