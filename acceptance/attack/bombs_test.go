package attack
const bombVariable = "X"
func explode(string){}
