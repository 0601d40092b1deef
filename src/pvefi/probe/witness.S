# SPDX-License-Identifier: GPL-2.0-or-later
# The witness: a first process of some two kilobytes, without a C library, that any x86-64 Linux starts as /init. It
# tells on its console what its kernel was given, in lines as the probe's are, and switches the machine off:
#
#   PVEFI-PROBE up
#   PVEFI-PROBE clock SECONDS                           since the kernel started (CLOCK_BOOTTIME)
#   PVEFI-PROBE counter SUM COUNTER                     the time-stamp counter at the first instruction here
#   PVEFI-PROBE file SUM PATH OFFSET SIZE BASE64        some bytes of a file; SIZE is that of all that is told
#   PVEFI-PROBE end poweroff
#
# SUM is the CRC-32 of what follows the space behind it; SUM, COUNTER, OFFSET and SIZE are hexadecimal. Each line is
# one write, and the kernel is told to write nothing but emergencies between them. A file that is not there is not
# told. A path with a slash at its end is a folder, told as its names, one a line.
#
# Registers that hold for long: r12 the counter; r13 the path, r14 and r15 the address and the size of what is told
# of it; rbp the offset of the next line within; rdi the end of the line that is being made; rbx the place in a table.

        # Linux arch/x86/entry/syscalls/syscall_64.tbl
        .set    READ, 0
        .set    WRITE, 1
        .set    OPEN, 2
        .set    CLOSE, 3
        .set    IOCTL, 16
        .set    PAUSE, 34
        .set    SYSLOG, 103
        .set    MOUNT, 165
        .set    REBOOT, 169
        .set    GETDENTS64, 217
        .set    CLOCK_GETTIME, 228

        .set    CONSOLE, 1                      # the descriptor that the kernel has opened for us
        .set    O_NONBLOCK, 0x800               # include/uapi/asm-generic/fcntl.h, and the next
        .set    O_DIRECTORY, 0x10000
        .set    CLOCK_BOOTTIME, 7               # include/uapi/linux/time.h
        .set    TCSBRK, 0x5409                  # include/uapi/asm-generic/ioctls.h; with 1: wait until all is sent
        .set    READ_ALL, 3                     # include/linux/syslog.h, SYSLOG_ACTION_READ_ALL
        .set    CONSOLE_LEVEL, 8                # SYSLOG_ACTION_CONSOLE_LEVEL
        .set    ONLY_EMERGENCIES, 1
        .set    MAGIC1, 0xfee1dead              # include/uapi/linux/reboot.h, and those that follow
        .set    MAGIC2, 0x28121969
        .set    POWER_OFF, 0x4321fedc
        .set    RESTART, 0x01234567
        .set    HALT, 0xcdef0123
        .set    ENTRY_SIZE, 16                  # struct linux_dirent64: where d_reclen stands, and d_name
        .set    ENTRY_NAME, 19
        .set    NANOSECONDS_IN_A_MILLISECOND, 1000000

        .set    BYTES_IN_A_LINE, 576            # lines of at most 900 characters
        .set    LONGEST, 256 << 10              # of a file
        .set    SUM_POLYNOMIAL, 0xedb88320      # CRC-32 as in RFC 1952 §8

        .text
        .globl  _start
_start: rdtsc
        shlq    $32, %rdx
        leaq    (%rdx, %rax), %r12

        movl    $up, %esi
        call    begin
        call    write_line

        movl    $CLOCK_GETTIME, %eax
        movl    $CLOCK_BOOTTIME, %edi
        movl    $buffer, %esi
        syscall
        movl    $clock, %esi
        call    begin
        movl    buffer, %eax
        movl    $1, %ecx                        # at least one digit
        call    decimal
        movb    $'.', (%rdi)
        incq    %rdi
        movl    buffer + 8, %eax
        xorl    %edx, %edx
        movl    $NANOSECONDS_IN_A_MILLISECOND, %ecx
        divl    %ecx
        movl    $3, %ecx
        call    decimal
        call    end_line

        movl    $SYSLOG, %eax
        movl    $CONSOLE_LEVEL, %edi
        xorl    %esi, %esi
        movl    $ONLY_EMERGENCIES, %edx
        syscall

        movl    $counter, %esi
        call    begin
        call    begin_sum
        movq    %r12, %rax
        movl    $16, %ecx
        call    hexadecimal
        call    end_sum

        movl    $proc, %edi
        movl    $slash_proc, %esi
        call    mount
        movl    $sysfs, %edi
        movl    $slash_sys, %esi
        call    mount

        movl    $files, %ebx
1:      movl    (%rbx), %r15d                   # how much of the file
        testl   %r15d, %r15d
        jz      2f
        leaq    4(%rbx), %r13
        call    tell_file
        call    next_path
        jmp     1b
2:      movl    $folders, %ebx
3:      cmpb    $0, (%rbx)
        je      4f
        movq    %rbx, %r13
        call    tell_folder
        call    next_path
        jmp     3b

4:      movl    $SYSLOG, %eax
        movl    $READ_ALL, %edi
        movl    $buffer, %esi
        movl    $LONGEST, %edx
        syscall
        movl    $kernel_log, %r13d
        movq    %rax, %r15
        testq   %rax, %rax
        jle     5f
        call    tell_buffer

5:      movl    $over, %esi
        call    begin
        call    write_line
        movl    $IOCTL, %eax
        movl    $CONSOLE, %edi
        movl    $TCSBRK, %esi
        movl    $1, %edx
        syscall
        movl    $POWER_OFF, %edx
        call    reboot
        movl    $RESTART, %edx
        call    reboot
        movl    $HALT, %edx
        call    reboot
6:      movl    $PAUSE, %eax
        syscall
        jmp     6b

# edx: what the machine is to do. Returns where it cannot.
reboot: movl    $REBOOT, %eax
        movl    $MAGIC1, %edi
        movl    $MAGIC2, %esi
        syscall
        ret

# rdi: the type of a file system, rsi: where. Whether it went well shows in the files.
mount:  movq    %rdi, %rdx
        xorl    %r10d, %r10d
        xorl    %r8d, %r8d
        movl    $MOUNT, %eax
        syscall
        ret

# r13: the path in a table, rbx: behind it.
next_path:
        movq    %r13, %rbx
1:      incq    %rbx
        cmpb    $0, -1(%rbx)
        jne     1b
        ret

# r13: a path; r15: at most so many bytes of it are told. Nothing is, of a file that cannot be read.
tell_file:
        movl    $OPEN, %eax
        movq    %r13, %rdi
        movl    $O_NONBLOCK, %esi
        syscall
        testq   %rax, %rax
        js      9f
        movl    %eax, %r8d
        movl    $buffer, %r14d
1:      movl    $READ, %eax
        movl    %r8d, %edi
        movq    %r14, %rsi
        movl    %r15d, %edx
        syscall
        testq   %rax, %rax
        jle     2f
        addq    %rax, %r14
        subl    %eax, %r15d
        jnz     1b
        xorl    %eax, %eax                      # no error
2:      movq    %rax, %r9
        movl    $CLOSE, %eax
        movl    %r8d, %edi
        syscall
        testq   %r9, %r9
        js      9f
        movq    %r14, %r15
        subq    $buffer, %r15
        jmp     tell_buffer
9:      ret

# r13: the path of a folder.
tell_folder:
        movl    $OPEN, %eax
        movq    %r13, %rdi
        movl    $O_DIRECTORY, %esi
        syscall
        testq   %rax, %rax
        js      9f
        movl    %eax, %r8d
        movl    $buffer, %r14d                  # behind the names so far
1:      movl    $GETDENTS64, %eax
        movl    %r8d, %edi
        movl    $entries, %esi
        movl    $LONGEST / 2, %edx              # so many, and names are shorter than their entries
        syscall
        testq   %rax, %rax
        jle     4f
        movl    $entries, %r9d
        leaq    entries(%rax), %r10
2:      leaq    ENTRY_NAME(%r9), %rsi
        movzwl  ENTRY_SIZE(%r9), %ecx
        addq    %rcx, %r9
        cmpb    $'.', (%rsi)                    # the folder and the one above; others in these have no such name
        je      3f
        movq    %r14, %rdi
        call    append
        movb    $'\n', (%rdi)
        leaq    1(%rdi), %r14
3:      cmpq    %r10, %r9
        jb      2b
        cmpq    $buffer + LONGEST / 2, %r14     # what the next call gives would not fit
        jb      1b
4:      movl    $CLOSE, %eax
        movl    %r8d, %edi
        syscall
        movq    %r14, %r15
        subq    $buffer, %r15

# r13: the path, r15: how much of the buffer is told of it; of nothing there is one line, too.
tell_buffer:
        movl    $buffer, %r14d
        xorl    %ebp, %ebp
1:      movl    $file, %esi
        call    begin
        call    begin_sum
        movq    %r13, %rsi
        call    append
        call    space
        movl    %ebp, %eax
        movl    $8, %ecx
        call    hexadecimal
        call    space
        movl    %r15d, %eax
        movl    $8, %ecx
        call    hexadecimal
        call    space
        movl    %r15d, %ecx
        subl    %ebp, %ecx
        cmpl    $BYTES_IN_A_LINE, %ecx
        jbe     2f
        movl    $BYTES_IN_A_LINE, %ecx
2:      leaq    (%r14, %rbp), %rsi
        addl    %ecx, %ebp
        call    base64
        call    end_sum
        cmpl    %r15d, %ebp
        jb      1b
9:      ret

# esi: how a line begins.
begin:  movl    $line, %edi

# rsi: a text that ends with a zero; is appended at rdi, as by all that follow.
append: movb    (%rsi), %al
        testb   %al, %al
        jz      1f
        movb    %al, (%rdi)
        incq    %rsi
        incq    %rdi
        jmp     append
1:      ret

space:  movb    $' ', (%rdi)
        incq    %rdi
        ret

# rax: a number, ecx: how many digits of it.
hexadecimal:
        leaq    (%rdi, %rcx), %rdx
        pushq   %rdx
1:      movl    %eax, %esi
        andl    $15, %esi
        movb    digits(%rsi), %sil
        decq    %rdx
        movb    %sil, (%rdx)
        shrq    $4, %rax
        decl    %ecx
        jnz     1b
        popq    %rdi
        ret

# eax: a number, ecx: how many digits at least.
decimal:
        movq    %rsp, %r8
        movl    $10, %esi
1:      xorl    %edx, %edx
        divl    %esi
        addl    $'0', %edx
        pushq   %rdx
        decl    %ecx
        jg      1b
        testl   %eax, %eax
        jnz     1b
2:      popq    %rax
        movb    %al, (%rdi)
        incq    %rdi
        cmpq    %r8, %rsp
        jne     2b
        ret

# rsi: bytes, ecx: how many. RFC 4648 §4.
base64: testl   %ecx, %ecx
        jz      3f
        movzbl  (%rsi), %eax
        shll    $24, %eax
        cmpl    $2, %ecx
        jb      1f
        movzbl  1(%rsi), %edx
        shll    $16, %edx
        orl     %edx, %eax
        cmpl    $3, %ecx
        jb      1f
        movzbl  2(%rsi), %edx
        shll    $8, %edx
        orl     %edx, %eax
1:      movl    $4, %r8d
2:      roll    $6, %eax
        movl    %eax, %edx
        andl    $63, %edx
        movb    alphabet(%rdx), %dl
        movb    %dl, (%rdi)
        incq    %rdi
        decl    %r8d
        jnz     2b
        addq    $3, %rsi
        subl    $3, %ecx
        ja      base64
        jz      3f
        movb    $'=', -1(%rdi)                  # one byte is missing,
        incl    %ecx
        jz      3f
        movb    $'=', -2(%rdi)                  # or two
3:      ret

# What is appended from here on has a sum, which is to stand before it.
begin_sum:
        addq    $8, %rdi
        call    space
        movq    %rdi, summed
        ret

# Puts the sum in its place, ends the line and writes it.
end_sum:
        movq    summed, %rsi
        movl    $-1, %eax
1:      cmpq    %rdi, %rsi
        jae     4f
        xorb    (%rsi), %al
        incq    %rsi
        movl    $8, %ecx
2:      shrl    $1, %eax
        jnc     3f
        xorl    $SUM_POLYNOMIAL, %eax
3:      decl    %ecx
        jnz     2b
        jmp     1b
4:      notl    %eax
        pushq   %rdi
        movq    summed, %rdi
        subq    $9, %rdi
        movl    $8, %ecx
        call    hexadecimal
        popq    %rdi

end_line:
        movb    $'\n', (%rdi)
        incq    %rdi

# Writes the line that ends at rdi; a console takes all of it at once, unless somebody interrupts.
write_line:
        movl    $line, %esi
1:      movq    %rdi, %rdx
        subq    %rsi, %rdx
        jbe     2f
        pushq   %rdi
        movl    $WRITE, %eax
        movl    $CONSOLE, %edi
        syscall
        popq    %rdi
        addq    %rax, %rsi
        testq   %rax, %rax
        jg      1b
2:      ret

        .section .rodata
up:         .asciz  "PVEFI-PROBE up\n"
clock:      .asciz  "PVEFI-PROBE clock "
counter:    .asciz  "PVEFI-PROBE counter "
file:       .asciz  "PVEFI-PROBE file "
over:       .asciz  "PVEFI-PROBE end poweroff\n"
proc:       .asciz  "proc"
slash_proc: .asciz  "/proc"
sysfs:      .asciz  "sysfs"
slash_sys:  .asciz  "/sys"
kernel_log: .asciz  "/proc/kmsg"                # as somebody who reads it gets it
digits:     .ascii  "0123456789abcdef"
alphabet:   .ascii  "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

        .macro  path limit, name
        .long   \limit
        .asciz  "\name"
        .endm

        # What is told, in this order: at most so many bytes of the file.
files:  path    4096, "/proc/version"
        path    4096, "/proc/cmdline"
        path    4096, "/proc/uptime"           # the second number: the seconds in which a CPU had nothing to do
        path    8192, "/proc/meminfo"
        path    65536, "/proc/iomem"
        path    2048, "/proc/kcore"             # ELF headers: where the kernel stands, virtual and physical
        path    4096, "/sys/kernel/boot_params/version"
        path    8192, "/sys/kernel/boot_params/data"
        .irp    number, 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        path    4096, "/sys/kernel/boot_params/setup_data/\number/type"
        path    8192, "/sys/kernel/boot_params/setup_data/\number/data"
        .endr
        path    4096, "/sys/firmware/efi/fw_platform_size"
        path    4096, "/sys/firmware/efi/fw_vendor"
        path    4096, "/sys/firmware/efi/runtime"
        path    4096, "/sys/firmware/efi/config_table"
        path    4096, "/sys/firmware/efi/systab"
        path    4096, "/sys/hypervisor/type"
        path    4096, "/sys/devices/system/clocksource/clocksource0/current_clocksource"
        .long   0
folders:
        .asciz  "/sys/firmware/efi/"
        .asciz  "/sys/firmware/acpi/tables/"
        .byte   0

        .bss
        .balign 16
summed:  .skip  8
line:    .skip  1024
buffer:  .skip  LONGEST
entries: .skip  LONGEST
