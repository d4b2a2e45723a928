"""What happens to runs: death, full disks, broken lines, poison; `make test-faults`."""
